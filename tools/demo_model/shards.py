"""Training data as files of tokens, made by all cores while the GPU trains.

A shard is a flat array of uint16: a token id, and in the top bit whether the model is to learn it. Documents end with
`<|endoftext|>`. Shard n depends on the seed and n only, so a resumed run goes on with shards it has not seen.

    python -m tools.demo_model.shards --tokenizer build/demo_model/tokenizer.json --output /tmp/shards --first 0 --count 600
"""

import argparse
import json
import os
import random
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from . import render
from .item import Item
from .mixture import COPY_FIRST, EVALUATED, MIXTURE, draw
from .words import Words

TARGET = 0x8000
SHARD_TOKENS = 1 << 21
CONTEXT = 4096
COPY_SHARDS = 16  # the first ones teach copying before anything else


def encode(tokenizer: Tokenizer, items: list[tuple[Item, bool]]) -> list[np.ndarray]:
    """Tokens of each (item, thinking), the target bit set on what the assistant writes."""
    cut = [render.segments(item, thinking) for item, thinking in items]
    encoded = iter(
        tokenizer.encode_batch_fast([text for segments in cut for text, _ in segments], add_special_tokens=False)
    )
    documents = []
    for segments in cut:
        parts = [np.array(next(encoded).ids, dtype=np.uint16) | (TARGET if target else 0) for _, target in segments]
        documents.append(np.concatenate(parts).astype(np.uint16))
    return documents


def thinking_mode(rng: random.Random) -> bool:
    """A fifth of the documents have thinking switched off, as `enable_thinking=False` renders it."""
    return rng.random() < 0.8


def write_shard(tokenizer: Tokenizer, path: Path, seed: int, index: int, tokens: int = SHARD_TOKENS) -> None:
    w = Words(random.Random(f"train {seed} {index}"))
    mixture = COPY_FIRST if index < COPY_SHARDS else MIXTURE
    documents: list[np.ndarray] = []
    total = 0
    while total < tokens:
        batch = [(draw(w, mixture), thinking_mode(w.rng)) for _ in range(256)]
        fitting = [d for d in encode(tokenizer, batch) if len(d) <= CONTEXT]
        documents += fitting
        total += sum(map(len, fitting))
    unfinished = path.with_suffix(".part")
    np.concatenate(documents)[:tokens].tofile(unfinished)
    os.replace(unfinished, path)


def held_out_items(seed: int, per_maker: int) -> list[Item]:
    """The evaluation's items: held-out words and templates only."""
    items = []
    for name, maker in EVALUATED.items():
        w = Words(random.Random(f"held out {seed} {name}"), held_out=True)
        items += [replace(maker(w), learn_history=False) for _ in range(per_maker)]
    return items


_tokenizer: Tokenizer


def _start(path: str) -> None:
    global _tokenizer
    os.nice(10)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _tokenizer = Tokenizer.from_file(path)


def _work(job: tuple[str, int, int]) -> None:
    output, seed, index = job
    write_shard(_tokenizer, Path(output) / f"{index:05}.bin", seed, index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    jobs = [
        (str(arguments.output), arguments.seed, i) for i in range(arguments.first, arguments.first + arguments.count)
    ]
    with Pool(arguments.workers, _start, (arguments.tokenizer,)) as pool:
        for _ in pool.imap_unordered(_work, jobs):
            pass
    print(json.dumps({"shards": arguments.count}))


if __name__ == "__main__":
    main()
