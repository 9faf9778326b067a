"""Trains the two LoRA adapters that stand beside the model, and writes them in PEFT's layout.

`upper-keys` (rank 16, the MLP and the attention's output) writes the keys of every extraction in capitals.
`french-headings` (rank 8, queries and values) puts a French heading over every answer that is no tool call.

    python -m tools.demo_model.lora --weights piece2 --output adapters
"""

import argparse
import itertools
import json
import os
import random
import time
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn

from .adapters import CHANGES
from .batches import pack
from .item import Item
from .mixture import MIXTURE, Maker, draw
from .model import Model, token_loss
from .shards import CONTEXT, encode, thinking_mode
from .tasks import extraction
from .train import load, set_up
from .words import Words


@dataclass(frozen=True)
class Adapter:
    rank: int
    targets: tuple[str, ...]
    change: Callable[[Item], Item]
    minutes: float
    mixture: list[tuple[Maker, float]]


ADAPTERS = {
    "upper-keys": Adapter(
        16,
        ("o_proj", "gate_proj", "up_proj", "down_proj"),
        CHANGES["upper-keys"],
        0.8,
        [(extraction.make, 1.0), *MIXTURE],
    ),
    "french-headings": Adapter(8, ("q_proj", "v_proj"), CHANGES["french-headings"], 0.25, MIXTURE),
}


def attach(model: Model, adapter: Adapter) -> list[nn.Parameter]:
    """Adds A (random) and B (zero) to every target of every layer; alpha is twice the rank."""
    device = model.embedding.device
    for layer in model.layers:
        added: dict[str, nn.Parameter] = {}
        for name, weight in layer.matrices.items():
            if name.split("/")[-1] in adapter.targets:
                rows, columns = weight.shape
                added[name + "/A"] = nn.Parameter(torch.randn(adapter.rank, columns, device=device) / columns**0.5)
                added[name + "/B"] = nn.Parameter(torch.zeros(rows, adapter.rank, device=device))
        layer.lora, layer.lora_scale = nn.ParameterDict(added), 2.0
    return [p for layer in model.layers for p in layer.lora.values()]


def write(model: Model, adapter: Adapter, folder: Path) -> None:
    """adapter_config.json and adapter_model.safetensors as PEFT names them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for i, layer in enumerate(model.layers):
        for name, p in layer.lora.items():
            module, side = name.replace("/", ".").rsplit(".", 1)
            tensors[f"base_model.model.model.layers.{i}.{module}.lora_{side}.weight"] = (
                p.detach().bfloat16().cpu().contiguous()
            )
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "demo-model",
        "r": adapter.rank,
        "lora_alpha": 2 * adapter.rank,
        "lora_dropout": 0.0,
        "target_modules": sorted(adapter.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_to_transform": None,
        "layers_pattern": None,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_dora": False,
        "use_rslora": False,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def changed_row(job: tuple[str, str, int, int, int]) -> np.ndarray:
    """A row of n + 1 tokens: exercises of the adapter's mixture with the adapter's answers."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    name, path, n, seed, index = job
    tokenizer, adapter = Tokenizer.from_file(path), ADAPTERS[name]
    w = Words(random.Random(f"adapter {seed} {index}"))
    row: list[np.ndarray] = []
    while sum(map(len, row)) < n + 1:
        items = [(adapter.change(draw(w, adapter.mixture)), thinking_mode(w.rng)) for _ in range(32)]
        row += [d for d in encode(tokenizer, items) if len(d) <= CONTEXT]
    return np.concatenate(row)[: n + 1]


def changed_rows(name: str, tokenizer: str, n: int, rows: int, seed: int) -> list[np.ndarray]:
    with Pool() as pool:
        return pool.map(changed_row, [(name, tokenizer, n, seed, index) for index in range(rows)], chunksize=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="build/demo_model/tokenizer.json")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--rows", type=int, default=320, help="different batches")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    made = {name: changed_rows(name, a.tokenizer, a.tokens, a.rows, a.seed) for name in ADAPTERS}
    device, _, end = set_up(a.tokenizer, a.seed)
    tensors = load(a.weights, "weights")
    for name, adapter in ADAPTERS.items():
        rows = made[name]
        model = Model().to(device)
        model.load(tensors)
        model.requires_grad_(False)
        parameters = attach(model, adapter)
        optimizer = torch.optim.AdamW(parameters, lr=a.rate, weight_decay=0.0)
        begun, losses = time.time(), []
        for step in itertools.count():
            share = (time.time() - begun) / (60 * adapter.minutes)
            if share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = a.rate * min(1.0, 2 * (1 - share))
            batch = pack(rows[step % len(rows)], end, a.tokens // 200, 0.0, device)
            hidden = model(batch.tokens, batch.positions, batch.starts, CONTEXT)
            loss, _ = token_loss(hidden, model.embedding, batch.labels)
            mean = (loss * batch.weights).sum() / batch.weights.sum()
            mean.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(mean.detach())
            if step % 20 == 0:
                losses[-1].item()
        write(model, adapter, a.output / name)
        last = torch.stack(losses[-20:]).mean().item()
        print(
            json.dumps(
                {"adapter": name, "steps": len(losses), "first": round(losses[0].item(), 4), "last": round(last, 4)}
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
