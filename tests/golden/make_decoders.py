"""Writes decoders/*/: configs of small decoders, recipes of their weights, and expected logits.

    python tests/golden/make_decoders.py [NAME...]

A directory holds config.json, weights.json and expected.safetensors. Weights are not stored: each
value follows from the tensor's name and its index (`values` below), and tests/support/made_weights.h
makes the same ones. weights.json lists the checkpoint's tensors: shape, scale, mean, and from which
named values its rows come, so that one set of weights can stand under other names and layouts.

The logits come from transformers in fp64 (eager attention, no cache), over a prompt and the 32
tokens that follow it greedily, rounded once to fp32. Families that transformers lacks are its Llama
or Qwen2 under other names; DeciLM's uneven layers are put together here from Llama's.
"""

import copy
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

HERE = Path(__file__).parent / "decoders"
VOCAB_SIZE = 101
NUM_DECODED = 32
MIN_MARGIN = 1e-3  # between the best and the second logit, so that greedy tokens are beyond doubt

SMALL = dict(vocab_size=VOCAB_SIZE, hidden_size=48, intermediate_size=70, num_hidden_layers=2,
             num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=128,
             rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, hidden_act="silu",
             tie_word_embeddings=False)
GEMMA = {k: v for k, v in SMALL.items() if k != "hidden_act"} | dict(
    hidden_activation="gelu_pytorch_tanh", num_hidden_layers=4, head_dim=12, sliding_window=6,
    query_pre_attn_scalar=20, tie_word_embeddings=True, eos_token_id=[2, 7], num_key_value_heads=3)
OLD = dict(torch_dtype="float32", transformers_version="4.40.0")
NEW = dict(dtype="float32", transformers_version="5.0.0")
LONG = dict(short_factor=[1.0, 1.1, 1.25, 1.5, 1.75, 2.0],
            long_factor=[1.5, 2.0, 3.5, 6.0, 7.0, 9.0])

# name: the class of transformers, what config.json says beside it, and the prompt's length.
FAMILIES = {
    "llama2": ("LlamaForCausalLM", SMALL | OLD | dict(
        num_key_value_heads=6, rope_theta=10000.0, rope_scaling=None, pretraining_tp=1)),
    "llama3": ("LlamaForCausalLM", SMALL | NEW | dict(
        head_dim=12, tie_word_embeddings=True, eos_token_id=[2, 3, 4],
        rope_parameters=dict(rope_type="llama3", rope_theta=5000.0, factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=32))),
    "llama_biases": ("LlamaForCausalLM", SMALL | OLD | dict(
        attention_bias=True, mlp_bias=True, rope_theta=10000.0, num_key_value_heads=None,
        rope_scaling=dict(type="linear", factor=2.5))),
    "llama_dynamic": ("LlamaForCausalLM", SMALL | OLD | dict(
        rope_theta=10000.0, num_key_value_heads=2, rope_scaling=dict(type="dynamic", factor=2.0))),
    "mistral": ("MistralForCausalLM", SMALL | OLD | dict(
        num_attention_heads=8, num_key_value_heads=1, sliding_window=7, rope_theta=10000.0)),
    "qwen2": ("Qwen2ForCausalLM", SMALL | OLD | dict(
        use_sliding_window=True, sliding_window=9, max_window_layers=1, tie_word_embeddings=True,
        rope_theta=10000.0, num_hidden_layers=3,
        rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=32))),
    "qwen3": ("Qwen3ForCausalLM", SMALL | NEW | dict(
        head_dim=20, use_sliding_window=False, sliding_window=None, max_window_layers=2,
        layer_types=["full_attention"] * 2,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0))),
    "gemma2": ("Gemma2ForCausalLM", GEMMA | OLD | dict(
        attn_logit_softcapping=5.0, final_logit_softcapping=4.0, rope_theta=10000.0)),
    "gemma3": ("Gemma3ForCausalLM", GEMMA | NEW | dict(
        model_type="gemma3_text",
        layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        rope_parameters=dict(
            full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000000.0),
            sliding_attention=dict(rope_type="default", rope_theta=10000.0)))),
    "gemma3_old": ("Gemma3ForCausalLM", GEMMA | OLD | dict(
        model_type="gemma3_text", sliding_window_pattern=3, rope_theta=1000000.0,
        rope_local_base_freq=500.0, rope_scaling=None, final_logit_softcapping=None)),
    "phi3": ("Phi3ForCausalLM", SMALL | OLD | dict(
        rope_theta=10000.0, rope_scaling=None, sliding_window=11, pad_token_id=0,
        original_max_position_embeddings=128)),
    "phi3_long": ("Phi3ForCausalLM", SMALL | NEW | dict(  # the prompt is past the original length
        num_attention_heads=3, num_key_value_heads=1, partial_rotary_factor=0.75,
        sliding_window=None, pad_token_id=0, original_max_position_embeddings=16,
        rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, partial_rotary_factor=0.75,
                             **LONG))),
    "phi3_short": ("Phi3ForCausalLM", SMALL | OLD | dict(  # no sequence can pass it
        num_attention_heads=3, num_key_value_heads=1, partial_rotary_factor=0.75, pad_token_id=0,
        sliding_window=None, original_max_position_embeddings=128, rope_theta=10000.0,
        rope_scaling=dict(type="longrope", **LONG))),
    "granite": ("GraniteForCausalLM", SMALL | OLD | dict(
        embedding_multiplier=5.0, attention_multiplier=0.2, residual_multiplier=0.4,
        logits_scaling=3.0, rope_theta=10000.0, tie_word_embeddings=True, attention_bias=False)),
}

LLAMA_NAMES = {"model.tok_embeddings": "model.embed_tokens", "attention.wo": "self_attn.o_proj",
               "feed_forward.w1": "mlp.gate_proj", "feed_forward.w3": "mlp.up_proj",
               "feed_forward.w2": "mlp.down_proj", "attention_norm": "input_layernorm",
               "ffn_norm": "post_attention_layernorm", "output.weight": "lm_head.weight"}


def names_hash(name: str) -> int:
    """FNV-1a, 64 bits."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def values(name: str, shape, scale: float, mean: float) -> np.ndarray:
    """SplitMix64 (Steele, Lea, Flood 2014) over hash + index; its top 16 bits, as -1..1."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        x = np.uint64(names_hash(name)) + np.arange(count, dtype=np.uint64)
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    whole = (x >> np.uint64(48)).astype(np.int64) - 32768
    return (whole.astype(np.float32) * np.float32(scale / 32768) + np.float32(mean)).reshape(shape)


def recipe(name: str, shape, norm_mean: float) -> dict:
    is_norm = len(shape) == 1 and not name.endswith("bias")
    scale = 0.3 if len(shape) == 1 else float(np.float32(3.0 / np.sqrt(shape[1])))
    if "embed" in name:  # small beside what layers add: a tied head would repeat its input
        scale = 0.25 if norm_mean else 0.05
    return dict(shape=list(shape), scale=scale, mean=norm_mean if is_norm else 0.0,
                rows=[[name, 0, shape[0]]])


def write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_weights(out: Path, tensors: dict) -> None:
    lines = ",\n".join(f' {json.dumps(n)}: {json.dumps(t)}' for n, t in sorted(tensors.items()))
    (out / "weights.json").write_text("{\n" + lines + "\n}\n")


def write_config(out: Path, architecture: str, fields: dict, model_type: str) -> None:
    config = dict(model_type=model_type) | fields | dict(architectures=[architecture])
    write_json(out / "config.json", dict(sorted(config.items())))


def load(model: torch.nn.Module, norm_mean: float, salt: str) -> dict:
    """Fills the model with made values, and returns their recipes."""
    tensors = {}
    tied = model.config.tie_word_embeddings
    for name, weight in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        r = recipe(name, tuple(weight.shape), norm_mean)
        r["rows"][0][0] = salt + name
        tensors[name] = r
        made = values(salt + name, r["shape"], r["scale"], r["mean"])
        weight.copy_(torch.from_numpy(made).double())
    return tensors


def greedy(model: torch.nn.Module, prompt: list) -> tuple:
    ids = list(prompt)
    for _ in range(NUM_DECODED):
        row = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        ids.append(int(row.argmax()))
    return ids, model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def write_expected(out: Path, model: torch.nn.Module, tensors: dict, name: str,
                   norm_mean: float) -> dict:
    """Tries other weights and prompts until greedy tokens are clear and do not repeat at once."""
    rng = np.random.default_rng(names_hash(name) % 2**32)
    for attempt in range(100):
        salt = f"{attempt}/"
        tensors = load(model, norm_mean, salt)
        prompt = [int(t) for t in rng.integers(0, VOCAB_SIZE, 21)]
        ids, logits = greedy(model, prompt)
        top = logits[len(prompt) - 1:].topk(2).values
        varied = len(set(ids[len(prompt):])) >= 10
        if (top[:, 0] - top[:, 1]).min() > MIN_MARGIN and varied:
            save_file({"token_ids": np.array(ids, np.int32),
                       "prompt_length": np.array([len(prompt)], np.int32),
                       "logits": logits.numpy().astype(np.float32)}, out / "expected.safetensors")
            return tensors
    raise SystemExit(f"{name}: no weights whose greedy tokens are clear")


def make(name: str) -> None:
    architecture, fields = FAMILIES[name]
    out = HERE / name
    shutil.rmtree(out, ignore_errors=True)
    kind = getattr(transformers, architecture)
    model_type = fields.get("model_type", kind.config_class.model_type)
    write_config(out, architecture, fields, model_type)
    config = transformers.AutoConfig.from_pretrained(out)
    config._attn_implementation = "eager"
    model = kind(config).double().eval()
    norm_mean = 0.0 if architecture.startswith("Gemma") else 1.0
    write_weights(out, write_expected(out, model, {}, name, norm_mean))


def rename(name: str, source: str, architecture: str, model_type: str, changes: dict,
           remove: tuple = (), tensors=lambda tensors: tensors) -> None:
    """`source` under another architecture's name: the same expected logits."""
    out = HERE / name
    shutil.rmtree(out, ignore_errors=True)
    fields = json.loads((HERE / source / "config.json").read_text()) | changes
    fields = {k: v for k, v in fields.items() if k not in remove and k != "model_type"}
    write_config(out, architecture, fields, model_type)
    weights = json.loads((HERE / source / "weights.json").read_text())
    write_weights(out, tensors(weights))
    shutil.copy(HERE / source / "expected.safetensors", out)


def internlm2_tensors(llama: dict) -> dict:
    """Llama's tensors under InternLM2's names; q, k and v of each group together in one wqkv."""
    config = json.loads((HERE / "llama_dynamic" / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config["hidden_size"] // heads
    out = {}
    for name, tensor in llama.items():
        if ".q_proj." in name:
            rows, group = [], heads // kv_heads
            for g in range(kv_heads):
                for part, first, count in (("q", g * group, group), ("k", g, 1), ("v", g, 1)):
                    [[source, _, _]] = llama[name.replace("q_proj", f"{part}_proj")]["rows"]
                    rows.append([source, first * head_dim, (first + count) * head_dim])
            shape = [(heads + 2 * kv_heads) * head_dim, tensor["shape"][1]]
            out[name.replace("self_attn.q_proj", "attention.wqkv")] = dict(
                tensor, shape=shape, rows=rows)
        elif ".k_proj." not in name and ".v_proj." not in name:
            for new, old in LLAMA_NAMES.items():
                name = name.replace(old, new)
            out[name] = tensor
    return out


def make_decilm() -> None:
    """Nemotron-NAS: layers of different widths, one without attention, one without MLP."""
    out = HERE / "decilm"
    shutil.rmtree(out, ignore_errors=True)
    blocks = [  # heads that share a key head, multiple of the hidden size; None: no such half
        (3, 2.0), (None, 4.0), (6, None), (1, 8.5)]
    fields = SMALL | OLD | dict(num_hidden_layers=len(blocks), rope_theta=10000.0,
                                num_key_value_heads=None, intermediate_size=None)
    half = lambda key, value: {"no_op": value is None, "replace_with_linear": False, key: value}
    fields["block_configs"] = [dict(attention=half("n_heads_in_group", group),
                                    ffn=half("ffn_mult", multiple)) for group, multiple in blocks]
    write_config(out, "DeciLMForCausalLM", fields, "nemotron-nas")
    config = transformers.LlamaConfig(**(SMALL | dict(num_hidden_layers=len(blocks))))
    config._attn_implementation = "eager"
    model = transformers.LlamaForCausalLM(config)
    for i, (group, multiple) in enumerate(blocks):
        own = copy.deepcopy(config)
        own.num_key_value_heads = config.num_attention_heads // (group or 1)
        own.intermediate_size = -(-int(2 * (multiple or 1) * config.hidden_size / 3) // 256) * 256
        layer = LlamaDecoderLayer(own, i)
        if group is None:
            layer.input_layernorm = torch.nn.Identity()
            layer.self_attn = NoAttention()
        if multiple is None:
            layer.post_attention_layernorm = torch.nn.Identity()
            layer.mlp = NoMlp()
        model.model.layers[i] = layer
    write_weights(out, write_expected(out, model.double().eval(), {}, "decilm", 1.0))


class NoAttention(torch.nn.Module):
    def forward(self, hidden_states, **_):
        return torch.zeros_like(hidden_states), None


class NoMlp(torch.nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)


def make_renamed() -> None:
    rename("llama_1", "llama2", "LLaMAForCausalLM", "llama", {})
    rename("internlm", "llama_biases", "InternLMForCausalLM", "internlm",
           dict(bias=True, mlp_bias=True), remove=("attention_bias",))
    rename("internlm2", "llama_dynamic", "InternLM2ForCausalLM", "internlm2", dict(bias=False),
           tensors=internlm2_tensors)
    rename("aquila", "llama2", "AquilaForCausalLM", "aquila", {})
    rename("xverse", "llama2", "XverseForCausalLM", "xverse", {})
    rename("palmyra", "qwen2", "Palmyra4ForCausalLM", "palmyra", {})
    rename("unknown", "qwen3", "SomethingNewForCausalLM", "something_new", {})


def make_demo_model() -> None:
    """The shipped model on one prompt; logits of a few rows, as its vocabulary is not small."""
    source, out = HERE.parents[2] / "examples" / "demo-model", HERE / "demo_model"
    out.mkdir(exist_ok=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.float64, attn_implementation="eager").eval()
    question = "What are you?"
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=True,
        return_dict=False, enable_thinking=False)
    ids, logits = greedy(model, prompt)
    print("demo model:", repr(tokenizer.decode(ids[len(prompt):])))
    rows = [0, len(prompt) - 1, len(prompt) + 15, len(ids) - 1]
    save_file({"token_ids": np.array(ids, np.int32),
               "prompt_length": np.array([len(prompt)], np.int32),
               "logit_rows": np.array(rows, np.int32),
               "logits": logits[rows].numpy().astype(np.float32)}, out / "expected.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    if sys.argv[1:] == ["demo_model"]:
        raise SystemExit(make_demo_model())
    for family in sys.argv[1:] or FAMILIES:
        make(family)
    if not sys.argv[1:]:
        make_decilm()
        make_renamed()
        make_demo_model()
