"""Writes the trained weights and the tokenizer as a Hugging Face checkpoint in bf16.

python -m tools.demo_model.export --weights build/demo_model/piece2 --adapters build/demo_model/adapters --output examples/demo-model
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from .model import Shape
from .train import load

SHARD_BYTES = 12 << 20
TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_weights(tensors: dict[str, torch.Tensor], output: Path) -> None:
    """Shards of bounded size and their index, tensors in the order of the layers."""
    parts: list[dict[str, torch.Tensor]] = [{}]
    size = total = 0
    for name, tensor in tensors.items():
        tensor = tensor.bfloat16().contiguous()
        bytes_ = tensor.numel() * 2
        if size + bytes_ > SHARD_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += bytes_
        total += bytes_
    where: dict[str, str] = {}
    for i, part in enumerate(parts, 1):
        file = f"model-{i:05}-of-{len(parts):05}.safetensors"
        save_file(part, output / file, metadata={"format": "pt"})
        where |= {name: file for name in part}
    index = {"metadata": {"total_parameters": total // 2, "total_size": total}, "weight_map": where}
    write_json(output / "model.safetensors.index.json", index)


def write_tokenizer(tokenizer: Tokenizer, output: Path) -> None:
    tokenizer.save(str(output / "tokenizer.json"))
    added = {
        str(i): {
            "content": t.content,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": t.special,
        }
        for i, t in sorted(tokenizer.get_added_tokens_decoder().items())
    }
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "bos_token": None,
        "chat_template": TEMPLATE.read_text(),
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": Shape.max_position_embeddings,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    }
    write_json(output / "tokenizer_config.json", config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="build/demo_model/tokenizer.json")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--adapters", type=Path, help="folder of adapters to set beside it")
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    a.output.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(a.tokenizer)
    ids = {name: tokenizer.token_to_id(name) for name in ("<|im_end|>", "<|endoftext|>")}
    end, pad = ids["<|im_end|>"], ids["<|endoftext|>"]
    write_json(a.output / "config.json", Shape().config() | {"eos_token_id": end, "pad_token_id": pad})
    generation = {"bos_token_id": None, "do_sample": False, "eos_token_id": [end, pad], "pad_token_id": pad}
    write_json(a.output / "generation_config.json", generation)
    write_weights(load(a.weights, "weights"), a.output)
    write_tokenizer(tokenizer, a.output)
    if a.adapters:
        shutil.copytree(a.adapters, a.output / "adapters", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
