"""What a function to call is: names, parameters, requests that need it, the reply it gives."""

from dataclasses import dataclass
from typing import Any, Callable

from ..words import Phrases, Words


@dataclass(frozen=True)
class Param:
    names: list[str]
    kind: str  # JSON type
    text: str
    value: Callable[[Words], Any]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    names: list[str]
    texts: list[str]
    params: dict[str, Param]
    asks: Phrases  # requests; the parameters they name become the arguments
    result: Callable[[Words], dict[str, Any]]
    told: str  # the answer after the result came back
    wishes: tuple[str, ...] = ()  # with `parts`, requests put together in any order (pieces.py)
    parts: tuple[str, ...] = ()  # what says the parameters; `?` marks one that a request may lack


def string(names: str, text: str, value: Callable[[Words], Any]) -> Param:
    return Param(names.split(), "string", text, value)


def integer(names: str, text: str, low: int, high: int) -> Param:
    return Param(names.split(), "integer", text, lambda w: w.rng.randint(low, high))


def choice(names: str, text: str, *choices: str) -> Param:
    return Param(names.split(), "string", text, lambda w: w.rng.choice(choices), choices)


CITY = string("city location place town", "Name of the city", Words.place)
PERSON = string("person name contact full_name", "Full name", Words.person)
DATE = string("date day on_date", "The date", Words.date)
TIME = string("time at_time start", "Time of day", Words.time)
PRODUCT = string("product item article", "The product", Words.product)


def message(w: Words) -> str:
    return w.filler(3, 9)


def sky(w: Words) -> str:
    return w.rng.choice(["rain", "sun", "fog", "snow", "clouds", "wind"])


def done(w: Words) -> dict[str, Any]:
    return {"status": "ok"}
