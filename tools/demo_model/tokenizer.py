"""Trains the tokenizer: byte-level BPE whose pieces of a word do not depend on what stands around it.

Letters, digits, and everything else never share a token, so a name has the same tokens after a space, a quote or an
underscore, and copying it is copying tokens. Digits stand alone; a line break begins a new piece.

    python -m tools.demo_model.tokenizer --output build/demo_model/tokenizer.json
"""

import argparse
import random
from pathlib import Path
from typing import Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from . import render
from .mixture import MIXTURE, draw
from .words import Words

VOCABULARY = 3072
PIECES = r"[\p{L}\p{M}]+|\p{N}|\n *|[^\p{L}\p{M}\p{N}\n]+"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]


def corpus(seed: int, documents: int) -> Iterator[str]:
    w = Words(random.Random(f"tokenizer {seed}"))
    marks = SPECIAL + MARKS
    for _ in range(documents):
        text = "".join(text for text, _ in render.segments(draw(w, MIXTURE)))
        for mark in marks:
            text = text.replace(mark, "\n")
        yield text


def train(seed: int = 1, documents: int = 40_000) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(MARKS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=12,
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(seed, documents), trainer)
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    tokenizer.add_tokens([AddedToken(s, special=False, normalized=False) for s in MARKS])
    assert tokenizer.get_vocab_size() == VOCABULARY
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/demo_model/tokenizer.json"))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    train(arguments.seed).save(str(arguments.output))


if __name__ == "__main__":
    main()
