"""The shipped demo model is whole: shapes, shards, tokenizer, template, adapters and the text for perplexity agree."""

import json
import struct
import sys
import unittest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.demo_model import render  # noqa: E402

MODEL = ROOT / "examples/demo-model"
MIB = 1 << 20
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]


def read_json(name: str) -> Any:
    return json.loads((MODEL / name).read_text())


def tensors(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: name -> dtype, shape, data_offsets."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    assert max(t["data_offsets"][1] for t in header.values()) == len(data) - 8 - length, path
    return header


def expected_shapes(c: dict[str, Any]) -> dict[str, list[int]]:
    """Every tensor of a Qwen3 checkpoint with tied embeddings."""
    hidden, mlp, d = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    out = {"model.embed_tokens.weight": [c["vocab_size"], hidden], "model.norm.weight": [hidden]}
    layer = {
        "self_attn.q_proj": [q, hidden],
        "self_attn.k_proj": [kv, hidden],
        "self_attn.v_proj": [kv, hidden],
        "self_attn.o_proj": [hidden, q],
        "self_attn.q_norm": [d],
        "self_attn.k_norm": [d],
        "mlp.gate_proj": [mlp, hidden],
        "mlp.up_proj": [mlp, hidden],
        "mlp.down_proj": [hidden, mlp],
        "input_layernorm": [hidden],
        "post_attention_layernorm": [hidden],
    }
    for i in range(c["num_hidden_layers"]):
        out |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    return out


class Checkpoint(unittest.TestCase):
    def setUp(self) -> None:
        self.config = read_json("config.json")

    def test_its_dimensions_suit_every_later_use(self) -> None:
        c = self.config
        self.assertEqual(c["architectures"], ["Qwen3ForCausalLM"])
        self.assertTrue(c["tie_word_embeddings"])
        self.assertEqual(c["max_position_embeddings"], 4096)
        self.assertGreaterEqual(c["num_key_value_heads"], 4)
        heads = {n: c[n] * c["head_dim"] for n in ("num_attention_heads", "num_key_value_heads")}
        sizes = heads | {n: c[n] for n in ("vocab_size", "hidden_size", "intermediate_size")}
        self.assertEqual({n: size for n, size in sizes.items() if size % 128}, {})

    def test_index_and_shards_hold_every_tensor(self) -> None:
        index = read_json("model.safetensors.index.json")
        found: dict[str, list[int]] = {}
        shards = sorted(MODEL.glob("model-*.safetensors"))
        self.assertEqual({p.name for p in shards}, set(index["weight_map"].values()))
        self.assertGreater(len(shards), 1)
        for path in shards:
            self.assertLessEqual(path.stat().st_size, 15 * MIB)
            for name, tensor in tensors(path).items():
                self.assertEqual((name, index["weight_map"].get(name)), (name, path.name))
                self.assertEqual((name, tensor["dtype"]), (name, "BF16"))
                found[name] = tensor["shape"]
        self.assertEqual(found, expected_shapes(self.config))
        self.assertEqual(found.keys(), index["weight_map"].keys())
        parameters = sum(s[0] * (s[1] if len(s) > 1 else 1) for s in found.values())
        self.assertEqual(index["metadata"], {"total_parameters": parameters, "total_size": 2 * parameters})

    def test_it_is_small(self) -> None:
        files = [p for p in MODEL.rglob("*") if p.is_file()]
        self.assertLessEqual(sum(p.stat().st_size for p in files), 20_000_000)
        self.assertLessEqual((MODEL / "eval/perplexity.jsonl").stat().st_size, 1_000_000)

    def test_the_tokenizer_has_the_marks_that_conversations_are_rendered_with(self) -> None:
        tokenizer, config = read_json("tokenizer.json"), read_json("tokenizer_config.json")
        added = {t["content"]: t for t in tokenizer["added_tokens"]}
        self.assertEqual({name: t["special"] for name, t in added.items()}, {m: m in SPECIAL for m in SPECIAL + MARKS})
        ids = [*tokenizer["model"]["vocab"].values(), *(t["id"] for t in added.values())]
        self.assertEqual(sorted(set(ids)), list(range(self.config["vocab_size"])))
        decoder = config["added_tokens_decoder"]
        self.assertEqual({i: t["content"] for i, t in decoder.items()}, {str(t["id"]): n for n, t in added.items()})
        end, text_end = added["<|im_end|>"]["id"], added["<|endoftext|>"]["id"]
        self.assertEqual((self.config["eos_token_id"], self.config["pad_token_id"]), (end, text_end))
        generation = read_json("generation_config.json")
        self.assertEqual((generation["eos_token_id"], generation["do_sample"]), ([end, text_end], False))
        self.assertEqual((config["eos_token"], config["pad_token"]), ("<|im_end|>", "<|endoftext|>"))

    def test_letters_and_digits_share_no_token_with_others(self) -> None:
        """What copying relies on; tokens are written in the byte-level alphabet, which maps ASCII to itself."""
        for token in read_json("tokenizer.json")["model"]["vocab"]:
            if token.isascii():
                letters, digits = any(c.isalpha() for c in token), any(c.isdigit() for c in token)
                self.assertTrue(token.isalpha() or not letters, token)
                self.assertTrue(len(token) == 1 or not digits, token)

    def test_the_template_is_the_one_it_was_trained_with(self) -> None:
        template = (ROOT / "tools/demo_model/chat_template.jinja").read_text()
        self.assertEqual(read_json("tokenizer_config.json")["chat_template"], template)

    def test_adapters_differ_in_rank_and_targets(self) -> None:
        shapes = expected_shapes(self.config)
        seen = {}
        for folder in sorted((MODEL / "adapters").iterdir()):
            config = json.loads((folder / "adapter_config.json").read_text())
            rank, targets = config["r"], set(config["target_modules"])
            seen[folder.name] = (rank, targets)
            self.assertEqual((config["peft_type"], config["task_type"]), ("LORA", "CAUSAL_LM"))
            expected = {}
            for name, shape in shapes.items():
                module = name.removesuffix(".weight")
                if module.split(".")[-1] in targets:
                    expected[f"base_model.model.{module}.lora_A.weight"] = [rank, shape[1]]
                    expected[f"base_model.model.{module}.lora_B.weight"] = [shape[0], rank]
            found = {n: t["shape"] for n, t in tensors(folder / "adapter_model.safetensors").items()}
            self.assertEqual(found, expected)
        self.assertEqual(seen.keys(), {"upper-keys", "french-headings"})
        self.assertEqual((seen["upper-keys"][0], seen["french-headings"][0]), (16, 8))
        self.assertFalse(seen["upper-keys"][1] & seen["french-headings"][1])

    def test_the_text_for_perplexity_is_whole_conversations(self) -> None:
        lines = (MODEL / "eval/perplexity.jsonl").read_text().splitlines()
        self.assertGreater(len(lines), 100)
        for line in lines:
            text = json.loads(line)
            self.assertTrue(text.startswith("<|im_start|>") and text.endswith("<|im_end|>"), text[:80])
        self.assertTrue(any(render.TOOLS_HEAD in line for line in map(json.loads, lines)))

    def test_the_card_names_the_numbers_of_the_files(self) -> None:
        card = (MODEL / "README.md").read_text()
        parameters = read_json("model.safetensors.index.json")["metadata"]["total_parameters"]
        for fact in (
            f"{parameters:,}",
            f"{self.config['vocab_size']:,}",
            "4,096",
            *(p.name for p in (MODEL / "adapters").iterdir()),
        ):
            self.assertIn(fact, card)


if __name__ == "__main__":
    unittest.main()
