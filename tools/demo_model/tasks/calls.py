"""Tool calls: several functions are offered, the request needs one, two or none of them; results are told."""

from typing import Any

from ..item import Item, dumps, system, user
from ..words import Phrases, Words
from . import dialogue, pieces
from .catalogue import CATALOGUE
from .invented import invent
from .tool import Tool

NONE_FITS = "None of the offered functions can do that."
SYSTEM = Phrases(
    [
        "You are a helpful assistant.",
        "Call a function when it helps.",
        "You can call functions.",
        "You work for {company}.",
        "Today is {date}.",
    ],
    ["Use the functions when they are needed.", "You assist {person}."],
)
BEFORE = Phrases(
    [
        "",
        "",
        "",
        "",
        "[Hello|Hi|Hey|Good evening|Dear assistant][!|,|.] ",
        "[Please|Hey], ",
        "[One|A] [question|thing|task|wish]: ",
        "[Listen|Quick|Okay|So|Well][:|,|.] ",
        "{filler} ",
    ],
    ["", "", "Good morning. ", "Now then: "],
)
AFTER = Phrases(
    [
        "",
        "",
        "",
        "",
        "",
        "",
        " [Thanks|Thank you|Please|Cheers][.|!]",
        " [It is|This is] [urgent|important|for a friend|all].",
        " [Please|Kindly|Will you] [do it|see to it|take care of it|go ahead|be quick].",
        " [Tell me|Give me|Send me|I need] [the result|the answer|it|all of it|the details|that].",
        " {filler}",
    ],
    ["", "", "", " Many thanks."],
)
JOIN = Phrases(
    [
        "{a} [And|Then|Also|Besides|After that|Next]: {b}",
        "{a} {b}",
        "[Two things|Both, please|I have two wishes|Do both]: {a} {b}",
        "{a}\n{b}",
        "1. {a}\n2. {b}",
        "{a} [And now|Then also|On top of that][,|:] {b}",
    ],
    ["First this: {a} Next: {b}"],
)


def dress(w: Words, text: str) -> str:
    """A request with what people say around it."""
    return w.pick(BEFORE).format(filler=w.filler(2, 8)) + text + w.pick(AFTER).format(filler=w.filler(2, 8))


class Offer:
    """One tool of the catalogue under names drawn for this item."""

    def __init__(self, w: Words, tool: Tool):
        self.tool = tool
        self.name = w.rng.choice(tool.names)
        self.keys = {p: w.rng.choice(param.names) for p, param in tool.params.items()}
        while len(set(self.keys.values())) < len(self.keys):
            self.keys = {p: w.rng.choice(param.names) for p, param in tool.params.items()}
        self.text = w.rng.choice(tool.texts)

    def definition(self, w: Words) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        for p, param in self.tool.params.items():
            properties[self.keys[p]] = {"type": param.kind, "description": param.text}
            if param.choices:
                properties[self.keys[p]]["enum"] = list(param.choices)
        required = [self.keys[p] for p in self.tool.params][: 1 if w.chance(0.5) else None]
        parameters = {"type": "object", "properties": properties, "required": required}
        return {"type": "function", "function": {"name": self.name, "description": self.text, "parameters": parameters}}

    def template(self, w: Words) -> str:
        tool = self.tool
        if not w.held_out and tool.parts and w.chance(0.4):
            text = pieces.request(w, tool.wishes, tool.parts)
            if not pieces.is_held_out_template(text, tool.asks):
                return w.disturb(text) if w.chance(0.3) else text
        return w.pick(tool.asks)

    def request(self, w: Words) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """A sentence, the call that answers it, the values behind it."""
        template = self.template(w)
        values = {p: param.value(w) for p, param in self.tool.params.items()}
        said = set(pieces.FIELDS.findall(template))
        arguments = {self.keys[p]: values[p] for p in self.tool.params if p in said}
        text = template.format(**values)
        return text[0].upper() + text[1:], {"name": self.name, "arguments": arguments}, values


def offers(w: Words, count: int) -> list[Offer]:
    """Different functions under different names; about a quarter of them are invented on the spot."""
    while True:
        tools = [invent(w) if w.chance(0.25) else tool for tool in w.rng.sample(CATALOGUE, count)]
        out = [Offer(w, tool) for tool in tools]
        if len({o.name for o in out}) == count:
            return out


def opening(w: Words) -> list[dict[str, Any]]:
    if w.chance(0.5):
        return []
    return [system(w.pick(SYSTEM).format(company=w.company(), date=w.date(), person=w.person()))]


def make(w: Words) -> Item:
    offered = offers(w, w.rng.choices([1, 2, 3, 4, 5, 6], [2, 3, 4, 4, 3, 1])[0])
    tools = [o.definition(w) for o in offered]
    kind = w.rng.random()
    if kind < 0.2:
        return no_call(w, offered, tools)
    if kind < 0.3 and len(offered) > 1:
        (a, call_a, _), (b, call_b, _) = [o.request(w) for o in w.rng.sample(offered, 2)]
        text = w.pick(JOIN).format(a=a, b=b)
        return Item("tool call", opening(w) + [user(text)], calls=[call_a, call_b], tools=tools)
    chosen = w.rng.choice(offered)
    text, call, _ = chosen.request(w)
    return Item("tool call", opening(w) + [user(dress(w, text))], calls=[call], tools=tools)


def no_call(w: Words, offered: list[Offer], tools: list[dict[str, Any]]) -> Item:
    """A wish that no offered function grants, or small talk."""
    if w.chance(0.35):
        talk = dialogue.make(w)
        return Item("no call", opening(w) + talk.messages[-1:], talk.answer, tools=tools)
    names = {id(o.tool) for o in offered}
    other = Offer(w, invent(w) if w.chance(0.2) else w.rng.choice([t for t in CATALOGUE if id(t) not in names]))
    return Item("no call", opening(w) + [user(dress(w, other.request(w)[0]))], NONE_FITS, tools=tools)


def result(w: Words) -> Item:
    """The call was made and answered; tell the result. Sometimes the next request follows."""
    offered = offers(w, w.rng.randint(1, 4))
    tools = [o.definition(w) for o in offered]
    chosen = w.rng.choice(offered)
    while not set(pieces.FIELDS.findall(chosen.tool.told)) - set(chosen.tool.params):
        offered = offers(w, w.rng.randint(1, 4))
        tools = [o.definition(w) for o in offered]
        chosen = w.rng.choice(offered)
    need = set(pieces.FIELDS.findall(chosen.tool.told)) & set(chosen.tool.params)
    text, call, values = chosen.request(w)
    while not need <= {p for p, key in chosen.keys.items() if key in call["arguments"]}:
        text, call, values = chosen.request(w)
    outcome = chosen.tool.result(w)
    answer = chosen.tool.told.format(**{**values, **outcome})
    asked = Item("", opening(w) + [user(text)], calls=[call])
    messages = asked.messages + [asked.reply(), {"role": "tool", "content": dumps(outcome)}]
    if w.chance(0.7):
        return Item("tool result", messages, answer, tools=tools)
    again, call, _ = w.rng.choice(offered).request(w)
    messages += [{"role": "assistant", "content": answer}, user(again)]
    return Item("tool call", messages, calls=[call], tools=tools)
