"""Adds a LoRA directory in PEFT's layout to a loaded model's weights: W + alpha / r * B A."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file


def merge(model: torch.nn.Module, folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    scale = config["lora_alpha"] / config["r"]
    for name in [n for n in tensors if n.endswith(".lora_A.weight")]:
        a, b = tensors[name].float(), tensors[name.replace("lora_A", "lora_B")].float()
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        weight = model.get_submodule(module).weight
        weight.data += (scale * b @ a).to(weight)
