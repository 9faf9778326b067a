"""Shards as training batches: whole documents packed into one row of N tokens, prefetched by a thread."""

import queue
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np
import torch
from torch import Tensor

from .shards import CONTEXT, TARGET


@dataclass
class Batch:
    tokens: Tensor  # [N] inputs
    labels: Tensor  # [N] the next token
    weights: Tensor  # [N] share of each position in the loss
    positions: Tensor  # [N] inside the document
    starts: Tensor  # [documents + 1], padded with N, int32


def pack(flat: np.ndarray, end: int, most: int, background: float, device: str) -> Batch:
    """`flat` holds N + 1 raw tokens that begin with a document; `end` is the id that closes one."""
    n = len(flat) - 1
    firsts = np.flatnonzero((flat[:n] & (TARGET - 1)) == end) + 1
    firsts = np.concatenate([[0], firsts[firsts < n]])[: most - 1]
    padded = np.full(most + 1, n, dtype=np.int32)
    padded[: len(firsts)] = firsts
    raw, starts = torch.from_numpy(flat.astype(np.int32)), torch.from_numpy(padded)
    if device != "cpu":
        raw, starts = raw.pin_memory().to(device, non_blocking=True), starts.pin_memory().to(device, non_blocking=True)
    ids = (raw & (TARGET - 1)).long()
    at = torch.arange(n, device=device, dtype=torch.int32)
    positions = at - starts[torch.searchsorted(starts, at, right=True) - 1]
    weights = torch.where(raw[1:] >= TARGET, 1.0, background)
    weights = weights * (ids[:n] != end) * (positions < CONTEXT)  # nothing to learn across documents
    return Batch(ids[:n], ids[1:], weights, positions.clamp(max=CONTEXT - 1).long(), starts)


def read(folder: Path, first: int, count: int) -> Iterator[np.ndarray]:
    """Shards in order, each awaited; after the last one it starts over."""
    while True:
        for index in range(first, first + count):
            path = folder / f"{index:05}.bin"
            while not path.exists():
                time.sleep(0.05)
            yield np.fromfile(path, dtype=np.uint16)


def batches(folder: Path, first: int, count: int, n: int, end: int, device: str, background: float) -> Iterator[Batch]:
    """An endless stream; a document that does not fit ends with its row, the next row begins with the next document."""
    ready: queue.Queue[Batch] = queue.Queue(maxsize=16)

    def produce() -> None:
        for shard in read(folder, first, count):
            ends = np.flatnonzero((shard & (TARGET - 1)) == end)
            at = 0
            while at + n + 1 <= len(shard):
                ready.put(pack(shard[at : at + n + 1], end, n // 200, background, device))
                following = ends[ends >= at + n]
                if not len(following):
                    break
                at = int(following[0]) + 1

    threading.Thread(target=produce, daemon=True).start()
    while True:
        yield ready.get()
