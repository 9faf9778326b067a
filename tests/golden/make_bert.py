"""Writes bert_*/: small random BERT checkpoints in the Hugging Face layout, with expected outputs.

    python tests/golden/make_bert.py

Each directory holds a checkpoint, texts.json and expected.safetensors. The outputs come from
transformers in fp64 (eager attention, one sequence at a time, no padding), run on the weights as
stored, and are rounded once to fp32. Sizes are odd on purpose; norms and biases are random, so
that a missing one shows.
"""

import json
import random
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file as save_tensors
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

HERE = Path(__file__).parent
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCAB_SIZE = 320
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16

# limit: tokens that a sequence may have; from the sentence-transformers config where it says one,
# else the smaller of the tokenizer's model_max_length and max_position_embeddings.
VARIANTS = {
    "bert_mean": dict(
        seed=1, dtype=F32, std=0.2, limit=130, layout="new", pooling="mean", normalize=False,
        config=dict(hidden_size=72, num_hidden_layers=3, num_attention_heads=6,
                    intermediate_size=200, max_position_embeddings=130, hidden_act="gelu")),
    "bert_cls": dict(
        seed=2, dtype=F32, std=0.2, limit=40, layout="old", pooling="cls", normalize=True,
        cased=True, max_seq_length=40, prefix="bert.", shards=2,
        config=dict(hidden_size=96, num_hidden_layers=2, num_attention_heads=3,
                    intermediate_size=136, max_position_embeddings=48, hidden_act="gelu_new")),
    "bert_bf16": dict(
        seed=3, dtype=BF16, std=0.12, limit=35, layout="old", pooling="mean", normalize=True,
        max_seq_length=35,
        config=dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2,
                    intermediate_size=512, max_position_embeddings=37, hidden_act="relu")),
    "bert_rerank": dict(  # a seed whose scores have both signs and stay away from 0
        seed=70, dtype=F16, std=0.2, limit=42, layout="old", labels=["LABEL_0"],
        model_max_length=42, pairs=23,
        config=dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                    intermediate_size=100, max_position_embeddings=50, hidden_act="gelu")),
    "bert_classify": dict(
        seed=5, dtype=F32, std=0.2, limit=44, layout="new", pairs=8,
        labels=["negative", "neutral", "very positive"],
        config=dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                    intermediate_size=72, max_position_embeddings=44, hidden_act="gelu")),
}


def make_tokenizer(cased: bool) -> Tokenizer:
    """WordPiece over characters and the pieces that save most; the library's trainer breaks ties
    by hash order, so its vocabulary differs from run to run."""
    normalizer = normalizers.BertNormalizer(lowercase=not cased)
    splitter = pre_tokenizers.BertPreTokenizer()
    corpus = " ".join(json.loads((HERE / "texts.json").read_text())[:32])
    words = [w for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(corpus))]
    chars = sorted({c for w in words for c in w})
    saved, seen_in = Counter(), defaultdict(set)
    for word in words:
        for begin in range(len(word)):
            for end in range(begin + 2, len(word) + 1):
                piece = ("##" if begin else "") + word[begin:end]
                saved[piece] += end - begin - 1
                seen_in[piece].add(word)
    best = [p for p in saved if len(seen_in[p]) > 1 or saved[p] >= 2 * len(p) - 2]
    best.sort(key=lambda piece: (-saved[piece], piece))
    vocab = (SPECIAL + chars + [f"##{c}" for c in chars if c.isalnum()] + best)[:VOCAB_SIZE]

    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(vocab)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def choose_texts(tokenizer: Tokenizer, limit: int, num_pairs: int, seed: int) -> list:
    """23 inputs, texts before [query, document] pairs: some at and past the limit, most short."""
    rng = random.Random(seed)
    words = sorted(w for w in tokenizer.get_vocab() if w.isalnum() and w.isascii())
    draw = lambda n: " ".join(rng.choice(words) for _ in range(n))  # n tokens
    pool = [t for t in json.loads((HERE / "texts.json").read_text()) if 10 <= len(t) <= 32]
    short = ["a", "\t", "[MASK]", ".", "\u00e9", draw(2), draw(7)] + rng.sample(pool, 13)
    texts = [draw(limit - 2), draw(limit - 1), draw(limit + 40)] + short  # first: exactly
    pairs = [
        [draw(5), draw(limit - 8)],  # exactly the limit
        [draw(4), draw(limit + 20)],  # the document alone is cut
        [draw(limit + 9), "a"],  # the query alone is cut
        [draw(limit // 2 + 7), draw(limit // 2 + 6)],  # both are cut: longest first
        ["\t", "\n"],  # nothing but special tokens
    ] + [[rng.choice(short), rng.choice(short)] for _ in range(18)]
    return texts[: 23 - num_pairs] + pairs[:num_pairs]


def random_weights(shapes: dict, seed: int, std: float) -> dict:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name in sorted(shapes):
        value = torch.randn(shapes[name], generator=generator) * std
        weights[name] = value + 1 if name.endswith("LayerNorm.weight") else value
    return weights


def write_json(path: Path, value) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_weights(out: Path, weights: dict, num_shards: int) -> None:
    if num_shards == 1:
        return save_tensors(weights, out / "model.safetensors", metadata={"format": "pt"})
    names, weight_map = sorted(weights), {}
    for i in range(num_shards):
        part = names[i * len(names) // num_shards : (i + 1) * len(names) // num_shards]
        file = f"model-{i + 1:05}-of-{num_shards:05}.safetensors"
        save_tensors({n: weights[n] for n in part}, out / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total_size = sum(w.numel() * w.element_size() for w in weights.values())
    write_json(out / "model.safetensors.index.json",
               {"metadata": {"total_size": total_size}, "weight_map": weight_map})


def write_config(out: Path, v: dict, config: BertConfig) -> None:
    dtype = str(v["dtype"]).removeprefix("torch.")
    new, labels = v["layout"] == "new", v.get("labels")
    common = dict(model_type="bert", vocab_size=config.vocab_size, type_vocab_size=2,
                  pad_token_id=0, layer_norm_eps=1e-12, initializer_range=v["std"],
                  hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, **v["config"])
    if labels:
        common |= dict(id2label=dict(enumerate(labels)),
                       label2id={name: i for i, name in enumerate(labels)},
                       architectures=["BertForSequenceClassification"])
    else:
        common |= dict(architectures=["BertForPreTraining" if v.get("prefix") else "BertModel"])
    if new:
        common |= dict(dtype=dtype, transformers_version=transformers.__version__, is_decoder=False,
                       add_cross_attention=False, bos_token_id=None, eos_token_id=None,
                       classifier_dropout=None, tie_word_embeddings=True, use_cache=False)
    else:
        common |= dict(torch_dtype=dtype, transformers_version="4.36.2", use_cache=True,
                       gradient_checkpointing=False, position_embedding_type="absolute")
    write_json(out / "config.json", dict(sorted(common.items())))


def write_tokenizer(out: Path, v: dict, tokenizer: Tokenizer) -> None:
    tokenizer.save(str(out / "tokenizer.json"))
    names = {f"{t[1:-1].lower()}_token": t for t in SPECIAL}
    unset = int(1e30)  # what transformers writes where no limit is known
    limit = v.get("model_max_length", unset if v["layout"] == "new" else 512)
    write_json(out / "tokenizer_config.json", names | dict(
        tokenizer_class="BertTokenizer", do_lower_case=not v.get("cased", False),
        strip_accents=None, tokenize_chinese_chars=True, model_max_length=limit))
    if v["layout"] == "old":
        write_json(out / "special_tokens_map.json", names)
        vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        (out / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in vocab))


def write_sentence_transformers(out: Path, v: dict) -> None:
    """The files of sentence-transformers: as version 6 writes them ("new") and as 2 did ("old")."""
    hidden, pooling = v["config"]["hidden_size"], v["pooling"]
    if v["layout"] == "new":
        types = {"": "base.modules.transformer.Transformer",
                 "1_Pooling": "sentence_transformer.modules.pooling.Pooling",
                 "2_Normalize": "base.modules.normalize.Normalize"}
        text = {"method": "forward", "method_output_name": "last_hidden_state"}
        sentence = {"transformer_task": "feature-extraction", "modality_config": {"text": text},
                    "module_output_name": "token_embeddings"}
        pool = {"embedding_dimension": hidden, "pooling_mode": pooling, "include_prompt": True}
        top = {"__version__": {"pytorch": "2.15.0", "sentence_transformers": "6.2.0",
                               "transformers": "5.23.0"},
               "default_prompt_name": None, "model_type": "SentenceTransformer",
               "prompts": {"document": "", "query": ""}, "similarity_fn_name": "cosine"}
    else:
        types = {"": "models.Transformer", "1_Pooling": "models.Pooling",
                 "2_Normalize": "models.Normalize"}
        sentence = {"max_seq_length": v["max_seq_length"], "do_lower_case": False}
        pool = {"word_embedding_dimension": hidden,
                "pooling_mode_cls_token": pooling == "cls",
                "pooling_mode_mean_tokens": pooling == "mean",
                "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}
        top = {"__version__": {"sentence_transformers": "2.2.2", "transformers": "4.36.2",
                               "pytorch": "2.1.0"}}
    paths = ["", "1_Pooling"] + (["2_Normalize"] if v["normalize"] else [])
    write_json(out / "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.{types[path]}"}
        for i, path in enumerate(paths)])
    write_json(out / "sentence_bert_config.json", sentence)
    write_json(out / "1_Pooling" / "config.json", pool)
    write_json(out / "config_sentence_transformers.json", top)


def write_expected(out: Path, v: dict, model: torch.nn.Module, texts: list) -> None:
    tokenizer = AutoTokenizer.from_pretrained(out)
    raw = Tokenizer.from_file(str(out / "tokenizer.json"))
    raw.enable_truncation(v["limit"])
    sequences = []
    for text in texts:
        pair = text if isinstance(text, list) else [text]
        got = tokenizer(*pair, truncation=True, max_length=v["limit"])
        same = raw.encode(*pair)
        assert got["input_ids"] == same.ids and got["token_type_ids"] == same.type_ids
        sequences.append((got["input_ids"], got["token_type_ids"]))
    sequences.append(([2], [0]))  # a lone [CLS], which no text gives

    hidden, heads = [], []
    with torch.no_grad():
        for ids, types in sequences:
            args = dict(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types]))
            rows = (model.bert if "labels" in v else model)(**args).last_hidden_state[0]
            hidden.append(rows)
            if "labels" in v:
                heads.append(model(**args).logits[0])
            else:
                vector = rows[0] if v["pooling"] == "cls" else rows.mean(0)
                heads.append(vector / vector.norm() if v["normalize"] else vector)
    f32 = lambda x: x.numpy().astype(np.float32)
    i32 = lambda x: np.array(x, np.int32)
    save_arrays({
        "token_ids": i32([i for ids, _ in sequences for i in ids]),
        "token_type_ids": i32([t for _, types in sequences for t in types]),
        "cu_seqlens": i32(np.cumsum([0] + [len(ids) for ids, _ in sequences])),
        "hidden": f32(torch.cat(hidden)),
        "logits" if "labels" in v else "pooled": f32(torch.stack(heads)),
    }, out / "expected.safetensors")


def make(name: str, v: dict) -> None:
    out = HERE / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    tokenizer = make_tokenizer(v.get("cased", False))
    config = BertConfig(vocab_size=tokenizer.get_vocab_size(),
                        num_labels=len(v.get("labels", [0])), **v["config"])
    kind = BertForSequenceClassification if "labels" in v else BertModel
    pooler = {} if "labels" in v else {"add_pooling_layer": v["layout"] == "old"}
    shapes = {k: w.shape for k, w in kind(config, **pooler).state_dict().items()}
    weights = {v.get("prefix", "") + k: w.to(v["dtype"])
               for k, w in random_weights(shapes, v["seed"], v["std"]).items()}
    if "prefix" in v:  # old checkpoints store this buffer too
        positions = torch.arange(config.max_position_embeddings, dtype=torch.int64)[None]
        weights["bert.embeddings.position_ids"] = positions

    write_weights(out, weights, v.get("shards", 1))
    write_config(out, v, config)
    write_tokenizer(out, v, tokenizer)
    if "pooling" in v:
        write_sentence_transformers(out, v)

    texts = choose_texts(tokenizer, v["limit"], v.get("pairs", 0), v["seed"])
    write_json(out / "texts.json", texts)
    model, info = kind.from_pretrained(out, dtype=torch.float64, attn_implementation="eager",
                                       output_loading_info=True, **pooler)
    assert not info["missing_keys"], info
    write_expected(out, v, model.eval(), texts)


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    for name, variant in VARIANTS.items():
        make(name, variant)
