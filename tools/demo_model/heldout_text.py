"""Writes held-out conversations as plain text, to measure perplexity on.

One JSON string a line; each is a whole conversation as the chat template renders it, its special tokens included.

    python -m tools.demo_model.heldout_text --output examples/demo-model/eval/perplexity.jsonl
"""

import argparse
import random
from pathlib import Path

from . import render
from .item import dumps
from .mixture import MIXTURE, draw
from .words import Words

LONGEST = 9000  # characters, to stay inside the context


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--bytes", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    w = Words(random.Random(f"perplexity {a.seed}"), held_out=True)
    lines: list[str] = []
    size = 0
    while True:
        item = draw(w, MIXTURE)
        text = render.prompt(item) + render.completion(item)
        if len(text) > LONGEST:
            continue
        line = dumps(text) + "\n"
        size += len(line.encode())
        if size > a.bytes:
            break
        lines.append(line)
    a.output.parent.mkdir(parents=True, exist_ok=True)
    a.output.write_text("".join(lines))


if __name__ == "__main__":
    main()
