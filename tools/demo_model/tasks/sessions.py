"""Several turns: exercises of all kinds in one conversation, and things said early that are asked for late."""

from ..item import Item, system, user
from ..words import Phrases, Words
from . import copying, dialogue, edits, extraction, sums, tables

TELL: list[tuple[str, Phrases, str, Phrases]] = [
    (
        "name",
        Phrases(
            ["My name is {x}.", "I am {x}.", "[Hello|Hi], I am {x}.", "You can call me {x}."], ["People call me {x}."]
        ),
        "Your name is {x}.",
        Phrases(
            ["What is my name?", "[Who am I|Do you remember my name]?", "[Tell me|Say] my name."],
            ["Do you know my name?"],
        ),
    ),
    (
        "place",
        Phrases(["I live in {x}.", "My home is {x}.", "I [moved to|come from] {x}."], ["I am from {x}."]),
        "You live in {x}.",
        Phrases(["Where do I live?", "[What is|Name] my city[?|.]"], ["Do you know where I live?"]),
    ),
    (
        "code",
        Phrases(
            ["The code is {x}.", "[Remember|Keep|Note] the code {x}.", "My code: {x}"],
            ["Please keep in mind the code {x}."],
        ),
        "The code is {x}.",
        Phrases(
            ["What is the code?", "[Tell me|Give me] the code.", "Which code did I [give|tell] you?"],
            ["What was the code again?"],
        ),
    ),
]
NOTED = "I will remember that."


def single(w: Words) -> Item:
    makers = [extraction.make, edits.make, tables.make, dialogue.make, dialogue.make, sums.make, copying.make]
    return w.rng.choice(makers)(w)


def make(w: Words, turns: int = 0, filler: bool = False) -> Item:
    """A session; its last exercise is the item's. `filler` adds long idle turns, for far-reaching recall."""
    messages = [system(w.pick(dialogue.SYSTEMS))] if w.chance(0.4) else []
    count = turns or w.rng.randint(1, 4)
    tell = w.rng.choice(TELL) if w.chance(0.5) or filler else None
    learn = True
    if tell:
        kind, said, recall, question = tell
        x = w.person() if kind == "name" else w.place() if kind == "place" else w.code()
        messages += [user(w.pick(said).format(x=x)), {"role": "assistant", "content": NOTED}]
    for _ in range(count):
        item = single(w)
        learn = learn and not item.thought
        messages += [*item.messages[-1:], {"role": "assistant", "content": item.answer}]
    if filler:
        text = " ".join(w.filler() for _ in range(w.rng.randint(20, 120)))
        messages += [user(text + "\n\nSay only: read."), {"role": "assistant", "content": "read"}]
    if tell and (filler or w.chance(0.5)):
        return Item("recall", messages + [user(w.pick(question))], recall.format(x=x), learn_history=learn)
    last = single(w)
    return Item(last.task, messages + last.messages[-1:], last.answer, thought=last.thought, learn_history=learn)
