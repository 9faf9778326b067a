"""Functions that no catalogue holds: a verb, a coined thing and parameters, with requests that name them."""

from typing import Any

from ..words import COMMON, ITEM_NOUNS, VERBS, Phrases, Words
from .tool import Param, Tool


def parameter(w: Words) -> tuple[str, Param]:
    """A name, and a parameter of a random kind under that name."""
    name = w.rng.choice([w.rng.choice(ITEM_NOUNS), w.rng.choice(ITEM_NOUNS), w.coin(), w.identifier()])
    makers: list[Any] = [
        w.place,
        w.person,
        w.code,
        w.date,
        w.time,
        w.coin,
        w.name,
        w.email,
        w.product,
        lambda: w.rng.randint(0, 999),
    ]
    value = w.rng.choice(makers)()
    kind = "integer" if isinstance(value, int) else "string"
    text = w.rng.choice([f"The {name}", f"{name} of it", name, f"Which {name}"])
    return name, Param([name], kind, text, lambda _: value)


def invent(w: Words) -> Tool:
    verb = w.rng.choice(VERBS)
    thing = w.rng.choice([w.coin(), w.coin(), w.rng.choice(ITEM_NOUNS)])
    params = dict(parameter(w) for _ in range(w.rng.randint(1, 3)))
    label = w.rng.choice([f"{verb}_{thing}", f"{thing}_{verb}", f"{verb}{thing.capitalize()}", thing])
    spoken = {p: p.replace("_", " ") if w.chance(0.5) else p for p in params}

    def told(first: str, between: str) -> str:
        return " and ".join(first + spoken[p] + between + "{" + p + "}" for p in params)

    asks = Phrases(
        [
            f"{verb} the {thing} with {told('', ' ')}.",
            f"Please {verb} {thing}, {told('', ': ')}.",
            f"[I want you to|Can you|You should] {verb} the {thing} where {told('the ', ' is ')}.",
            f"{thing}: {told('', ' = ')}",
            f"The {thing} should be {verb}: {told('', ' ')}",
            f"Use {told('', ' ')} to {verb} the {thing}.",
            f"{told('the ', ' ')}; {verb} that {thing}",
            f"[Someone has to|Who can|We must|Time to|Remember to] {verb} the {thing}[.|:|;|?] {told('', ' ')}",
            f"[There is|Here comes|We have|I see] a {thing} to {verb}, {told('', ' ')}",
            f"[Now the|Next, the|The|My|Our] {thing}. [Please {verb} it|{verb} it|It needs to be {verb}]. {told('', ' is ')}.",
            f"{told('For the ', ' ')} [please|kindly|you may] {verb} the {thing}",
        ],
        [
            f"It is time to {verb} the {thing}: {told('', ' ')}.",
            f"I would like the {thing} to {verb}, with {told('', ' ')}.",
        ],
    )
    texts = [f"{verb.capitalize()}s the {thing}", f"To {verb} a {thing}", f"{verb} {thing} {w.rng.choice(COMMON)}"]
    return Tool(
        [label],
        texts,
        params,
        asks,
        lambda x: {"result": x.rng.choice([x.coin(), x.rng.randint(0, 999)])},
        "The result is {result}.",
        wishes=(
            f"[please |kindly |now |you may |]{verb} [the|a|this|that|our|] {thing}",
            f"[the|a|one|some] {thing} [to {verb}|needs it: {verb}|waits: {verb} it|, {verb} it]",
            f"{thing} {verb}",
        ),
        parts=tuple(f"[with|the|for|using|where|] {spoken[p]}[ is| =|:|] {{{p}}}" for p in params),
    )
