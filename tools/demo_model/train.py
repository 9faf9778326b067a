"""Trains the model for a number of minutes, from nothing or from where the last piece ended.

    python -m tools.demo_model.train --shards /tmp/shards --minutes 8.8 --until 0.64 --save piece1
    python -m tools.demo_model.train --shards /tmp/shards --minutes 5 --from 0.64 --resume piece1 --save piece2

The learning rate follows the share of the whole schedule that is done (`--from` to `--until`): a short rise, a plateau,
a fall to nothing over the last part. On the way the model is asked the held-out exercises: an answer counts when every
one of its tokens is the likeliest, which is what greedy decoding would write.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from .batches import Batch, batches, pack
from .model import Model, Shape, token_loss
from .muon import Optimizer
from .shards import CONTEXT, encode, held_out_items

PIECE_BYTES = 15 << 20  # saved in files no larger than this


def rate_at(done: float, peak: float, fall: float) -> float:
    if done < 0.01:
        return peak * (0.05 + done / 0.01)
    return peak * min(1.0, max(0.0, (1 - done) / fall))


def save(folder: Path, prefix: str, tensors: dict[str, torch.Tensor]) -> None:
    """In several files of bounded size, as they must travel."""
    folder.mkdir(parents=True, exist_ok=True)
    part: dict[str, torch.Tensor] = {}
    size, index = 0, 0
    for name, tensor in [*tensors.items(), ("", torch.empty(0))]:
        bytes_ = tensor.numel() * tensor.element_size()
        if part and (not name or size + bytes_ > PIECE_BYTES):
            save_file(part, folder / f"{prefix}{index}.safetensors")
            part, size, index = {}, 0, index + 1
        if name:
            part[name] = tensor.detach().cpu().contiguous()
            size += bytes_


def load(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    out: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob(f"{prefix}*.safetensors")):
        out |= load_file(path)
    return out


def set_up(tokenizer: str, seed: int) -> tuple[str, Tokenizer, int]:
    """The device, the tokenizer and the id that closes a document; seeds PyTorch and sets its precision."""
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    read = Tokenizer.from_file(tokenizer)
    return "cuda" if torch.cuda.is_available() else "cpu", read, read.token_to_id("<|endoftext|>")


class HeldOut:
    """Held-out exercises as packed batches; `score` gives the share of wholly right answers by task."""

    def __init__(self, tokenizer: Tokenizer, n: int, end: int, device: str, per_maker: int):
        items = held_out_items(7, per_maker)
        documents = encode(tokenizer, [(item, True) for item in items])
        kept = [(item.task, d) for item, d in zip(items, documents) if len(d) <= CONTEXT]
        self.batches: list[tuple[Batch, list[str]]] = []
        row: list[np.ndarray] = []
        tasks: list[str] = []
        pad = np.array([end], dtype=np.uint16)
        for task, d in [*kept, ("", None)]:
            if d is None or sum(map(len, row)) + len(d) > n or len(row) >= n // 200 - 3:
                flat = np.concatenate([*row, np.repeat(pad, n + 1 - sum(map(len, row)))])
                self.batches.append((pack(flat, end, n // 200, 0.0, device), tasks))
                row, tasks = [], []
            if d is not None:
                row.append(d)
                tasks.append(task)

    @torch.no_grad()
    def score(self, model: Model, loss_of) -> dict[str, float]:
        right: dict[str, list[bool]] = defaultdict(list)
        for batch, tasks in self.batches:
            hidden = model(batch.tokens, batch.positions, batch.starts, CONTEXT)
            _, hit = loss_of(hidden, model.embedding, batch.labels)
            wrong = ((~hit) & (batch.weights > 0)).long().cumsum(0).cpu()
            bounds = batch.starts[: len(tasks) + 1].cpu().tolist()
            for task, a, b in zip(tasks, bounds, bounds[1:]):
                before = int(wrong[a - 1]) if a else 0
                right[task].append(int(wrong[b - 1]) == before)
        return {task: round(100 * float(np.mean(hits)), 1) for task, hits in sorted(right.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default="build/demo_model/tokenizer.json")
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="first shard of this piece")
    parser.add_argument("--count", type=int, default=100_000, help="shards there are or will be")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--from", dest="begin", type=float, default=0.0)
    parser.add_argument("--until", type=float, default=1.0)
    parser.add_argument("--fall", type=float, default=0.4, help="share of the schedule in which the rate falls")
    parser.add_argument("--rate", type=float, default=6e-3)
    parser.add_argument("--tokens", type=int, default=65_536, help="tokens of a step")
    parser.add_argument("--background", type=float, default=0.1, help="loss weight of tokens that others write")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--save", type=Path, required=True)
    parser.add_argument("--score-every", type=float, default=60, help="seconds")
    parser.add_argument("--per-maker", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=Shape.num_hidden_layers)
    a = parser.parse_args()

    begun = time.time()
    device, tokenizer, end = set_up(a.tokenizer, a.seed)
    model = Model(Shape(num_hidden_layers=a.layers)).to(device)
    matrices = [p for layer in model.layers for p in layer.matrices.values()]
    others = [model.embedding, model.norm] + [p for layer in model.layers for p in layer.norms.values()]
    optimizer = Optimizer(matrices, others)
    if a.resume:
        model.load(load(a.resume, "weights"))
        optimizer.load(load(a.resume, "state"))
    loss_of = token_loss
    if device == "cuda":
        for layer in model.layers:
            layer.compile()
        loss_of = torch.compile(token_loss)
    held_out = HeldOut(tokenizer, a.tokens, end, device, a.per_maker)
    stream = batches(a.shards, a.first, a.count, a.tokens, end, device, a.background)

    step, scored, losses = 0, time.time(), torch.zeros(3, device=device)
    loop, waited, share = time.time(), 0.0, 0.0
    while share < 1:
        share = min(1.0, (time.time() - begun) / (60 * a.minutes))
        rate = rate_at(a.begin + share * (a.until - a.begin), a.rate, a.fall)
        asked = time.time()
        batch = next(stream)
        waited += time.time() - asked
        hidden = model(batch.tokens, batch.positions, batch.starts, CONTEXT)
        loss, _ = loss_of(hidden, model.embedding, batch.labels)
        ((loss * batch.weights).sum() / batch.weights.sum()).backward()
        optimizer.step(rate)
        optimizer.zero()
        step += 1
        with torch.no_grad():
            target = batch.weights == 1
            losses += torch.stack([(loss * target).sum(), target.sum(), (loss * ~target).sum() / (~target).sum()])
        if step <= 3 or time.time() - scored > a.score_every or share >= 1:
            mean = (losses[0] / losses[1]).item()
            speed = a.tokens * step / (time.time() - loop) / 1e6
            line = {"s": round(time.time() - begun), "step": step, "rate": round(rate, 5), "loss": round(mean, 4)}
            line |= {
                "Mtok/s": round(speed, 3),
                "waited": round(waited, 1),
                "batch_docs": int((batch.starts < a.tokens).sum()),
            }
            print(json.dumps(line), flush=True)
            if step <= 3:
                loop, waited = (time.time(), 0.0) if step == 3 else (loop, waited)
            else:
                print(json.dumps(held_out.score(model, loss_of)), flush=True)
                scored = time.time()
            losses.zero_()
    save(a.save, "weights", model.checkpoint())
    save(a.save, "state", optimizer.state())
    used = sorted(int(p.stem) for p in a.shards.glob("*.bin"))
    print(
        json.dumps(
            {"steps": step, "tokens": step * a.tokens, "shards_there": len(used), "seconds": round(time.time() - begun)}
        )
    )


if __name__ == "__main__":
    main()
