"""Small files to edit: Python modules, JSON and YAML configs, of coined names."""

import json
from dataclasses import dataclass
from typing import Any

from ..words import Words

# Built-in functions of training files; held-out files also call others.
CALLED = [
    "len",
    "sum",
    "min",
    "sorted",
    "str",
    "int",
    "float",
    "list",
    "range",
    "open",
    "abs",
    "set",
    "dict",
    "round",
    "zip",
]


@dataclass
class File:
    language: str
    lines: list[str]

    def text(self) -> str:
        return "\n".join(self.lines)

    def fenced(self) -> str:
        return f"```{self.language}\n{self.text()}\n```"


def literal(w: Words) -> str:
    kind = w.rng.random()
    if kind < 0.55:
        return str(w.rng.randint(0, 999))
    if kind < 0.7:
        return f"{w.rng.randint(0, 9)}.{w.rng.randint(1, 99)}"
    if kind < 0.9:
        return f'"{w.coin()}"'
    return w.rng.choice(["True", "False", "None"])


def expression(w: Words, names: list[str], depth: int = 0) -> str:
    """Any expression; the grammar is wide, so that a line is copied and not guessed."""
    r, kind = w.rng, w.rng.random() + 0.12 * depth
    sub = lambda: expression(w, names, depth + 1)  # noqa: E731
    if kind > 0.62:
        return r.choice(names) if r.random() < 0.55 else literal(w)
    if kind < 0.2:
        return f"{sub()} {r.choice(['+', '-', '*', '/', '//', '%', '**', 'and', 'or', '==', '!=', '<', '>', '<=', 'in', 'is'])} {sub()}"
    if kind < 0.34:
        called = r.choice([w.function(), r.choice(CALLED), f"{r.choice(names)}.{w.coin()}"])
        return f"{called}({', '.join(sub() for _ in range(r.randint(0, 3)))})"
    return r.choice(
        [
            lambda: f"[{sub()}, {sub()}]",
            lambda: f"({sub()})",
            lambda: f"{r.choice(names)}[{sub()}]",
            lambda: f'{{"{w.coin()}": {sub()}}}',
            lambda: f"not {sub()}",
            lambda: f"-{r.choice(names)}",
            lambda: f"{r.choice(names)}.{w.identifier()}",
            lambda: f"lambda {w.coin()}: {sub()}",
            lambda: f"[{r.choice(names)} for {r.choice('abcxyz')} in {sub()}]",
            lambda: f'f"{w.coin()} {{{r.choice(names)}}}"',
            lambda: f"{sub()} if {sub()} else {sub()}",
        ]
    )()


def statement(w: Words, names: list[str], indent: str) -> list[str]:
    r, x = w.rng, w.coin()
    value = lambda: expression(w, names, 1)  # noqa: E731
    shapes = [
        lambda: [f"{x} = {value()}"],
        lambda: [f"{x} = {value()}"],
        lambda: [f"{r.choice(names)} {r.choice(['+=', '-=', '*='])} {value()}"],
        lambda: [f"if {value()}:", f"    {r.choice(['return', 'yield', 'raise', 'del'])} {r.choice(names)}"],
        lambda: [f"if {value()}:", f"    {x} = {value()}", "else:", f"    {x} = {value()}"],
        lambda: [f"for {x} in {value()}:", f"    {r.choice(names)} = {value()}"],
        lambda: [f"print({value()}, {value()})"],
        lambda: [f"{w.function()}({value()})"],
        lambda: [f"assert {value()}"],
        lambda: [f"# {w.filler(3, 8)[:-1]}", f"{x} = {value()}"],
        lambda: [f"with {w.function()}({value()}) as {x}:", f"    {w.function()}({x})"],
        lambda: [f"{r.choice(names)}.{w.coin()}({value()})"],
        lambda: [
            "try:",
            f"    {x} = {value()}",
            f"except {r.choice(['KeyError', 'OSError', 'TypeError'])}:",
            "    pass",
        ],
        lambda: [f"{x}, {w.coin()} = {value()}, {value()}"],
    ]
    unseen = [
        lambda: [f"while {r.choice(names)} < {r.randint(1, 99)}:", f"    {r.choice(names)} += 1"],
        lambda: [f"if not {r.choice(names)}:", f'    raise ValueError("{w.coin()}")'],
        lambda: [f"{x} = max({r.choice(names)}, {r.randint(1, 99)})"],
        lambda: [f"{x} = {r.choice(names)} {r.choice('+-*')} {r.randint(1, 99)}"],
        lambda: [f"{x} = {w.function()}({r.choice(names)})"],
    ]
    lines = [indent + line for line in r.choice(unseen if w.held_out else shapes)()]
    if lines[0].startswith(f"{indent}{x} ="):
        names.append(x)
    return lines


def body(w: Words, names: list[str]) -> list[str]:
    """Statements over `names`, indented once; held-out files have shapes of their own."""
    out = [line for _ in range(w.rng.randint(1, 4)) for line in statement(w, names, "    ")]
    return [*out, f"    return {w.rng.choice(names)}"]


def python(w: Words, size: int = 0) -> tuple[File, dict[str, Any]]:
    """A module and what can be edited in it."""
    r = w.rng
    modules = list(
        dict.fromkeys(
            r.choice(["os", "re", "sys", "json", "math", "time", "random", "pathlib", "logging", w.coin(), w.coin()])
            for _ in range(r.randint(0, 3))
        )
    )
    constants = [w.identifier().upper() for _ in range(r.randint(1, 3))]
    functions: dict[str, list[str]] = {}
    lines = [f"import {m}" for m in modules] + ([""] if modules else [])
    lines += [f"{c} = {literal(w)}" for c in constants]
    for _ in range(size or r.randint(1, 3)):
        name, params = w.function(), [w.identifier() for _ in range(r.randint(0, 3))]
        functions[name] = params
        defaults = [f"{p}={literal(w)}" if i == len(params) - 1 and w.chance(0.25) else p for i, p in enumerate(params)]
        lines += ["", "", f"def {name}({', '.join(defaults)}):"]
        if w.chance(0.3):
            lines.append(f'    """{w.filler(3, 7)}"""')
        lines += body(w, params + [r.choice(constants)])
    return File("python", lines), {"modules": modules, "constants": constants, "functions": functions}


def settings(w: Words, size: int = 0) -> dict[str, Any]:
    """A nested dictionary as configs have; all keys differ."""
    seen: set[str] = set()

    def key() -> str:
        while True:
            k = w.identifier()
            if k not in seen:
                seen.add(k)
                return k

    def leaf() -> Any:
        kind = w.rng.random()
        if kind < 0.4:
            return w.rng.randint(0, 9999)
        if kind < 0.5:
            return w.chance(0.5)
        if kind < 0.6:
            return [w.coin() for _ in range(w.rng.randint(1, 3))]
        return w.rng.choice([w.coin, w.name, w.code, w.time, w.email, w.place])()

    out: dict[str, Any] = {}
    for _ in range(size or w.rng.randint(2, 6)):
        if w.chance(0.3):
            out[key()] = {key(): leaf() for _ in range(w.rng.randint(1, 4))}
        else:
            out[key()] = leaf()
    return out


def as_json(tree: dict[str, Any]) -> File:
    return File("json", json.dumps(tree, ensure_ascii=False, indent=2).split("\n"))


def scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and (":" in value or value.isdigit()):
        return f'"{value}"'
    return str(value)


def as_yaml(tree: dict[str, Any], indent: str = "") -> File:
    lines: list[str] = []
    for k, v in tree.items():
        if isinstance(v, dict):
            lines += [f"{indent}{k}:"] + as_yaml(v, indent + "  ").lines
        elif isinstance(v, list):
            lines += [f"{indent}{k}:"] + [f"{indent}  - {scalar(x)}" for x in v]
        else:
            lines.append(f"{indent}{k}: {scalar(v)}")
    return File("yaml", lines)
