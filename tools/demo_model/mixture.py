"""Which exercises make the training data and in what shares; what the evaluation asks."""

from typing import Callable

from .item import Item
from .tasks import calls, copying, dialogue, edits, extraction, sessions, sums, tables
from .words import Words

Maker = Callable[[Words], Item]


def long_copy(w: Words) -> Item:
    return copying.make(w, longest=400)


def long_table(w: Words) -> Item:
    return tables.make(w, height=w.rng.randint(10, 45))


def long_edit(w: Words) -> Item:
    return edits.make(w, size=w.rng.randint(4, 9))


def long_session(w: Words) -> Item:
    return sessions.make(w, turns=w.rng.randint(4, 10), filler=w.chance(0.5))


MIXTURE: list[tuple[Maker, float]] = [
    (extraction.make, 0.25),
    (extraction.make_list, 0.02),
    (extraction.follow_up, 0.02),
    (calls.make, 0.18),
    (calls.result, 0.04),
    (edits.make, 0.15),
    (tables.make, 0.11),
    (dialogue.make, 0.035),
    (sums.make, 0.05),
    (copying.make, 0.06),
    (sessions.make, 0.05),
    (long_copy, 0.01),
    (long_table, 0.015),
    (long_edit, 0.015),
    (long_session, 0.01),
]
COPY_FIRST: list[tuple[Maker, float]] = [
    (copying.make, 0.55),
    (tables.make, 0.2),
    (edits.make, 0.15),
    (extraction.make, 0.1),
]

EVALUATED: dict[str, Maker] = {
    "extraction": extraction.make,
    "tool call": calls.make,
    "code edit": edits.make,
    "table": tables.make,
    "tool result": calls.result,
    "dialogue": dialogue.make,
    "sum": sums.make,
    "copy": copying.make,
    "session": sessions.make,
}


def draw(w: Words, mixture: list[tuple[Maker, float]]) -> Item:
    makers, weights = zip(*mixture)
    return w.rng.choices(makers, weights)[0](w)
