"""Tables: copied as they are, turned from one format into another, or cut to some columns."""

from typing import Any, Callable

from ..item import Item, dumps, user
from ..words import ITEM_NOUNS, Phrases, Words

Rows = list[list[str]]

COPY = Phrases(
    [
        "[Copy|Repeat|Write down|Reproduce] this table[| exactly| without changes]:\n\n{table}",
        "{table}\n\n[Copy|Repeat] the table[| above| exactly].",
        "[Give me|Show me|Print] this table [again|once more]:\n{table}",
        "{table}\n\n[Repeat|Echo|Return|Print|Type|Say] [it|this|that|everything|all of it][| as it is| unchanged| word by word].",
        "[I want|I need|We need|Make|Create] [a copy|an exact copy|the copy|a duplicate] [of|from] [this|this table|the table]:\n\n{table}",
        "{table}\n\n[A copy|One copy|The table again|Once more|Again|Unchanged][|, please][.|]",
        "[Can|Could|Would] you [copy|repeat|rewrite|send back|give back] [this|the table|the data][?|:]\n\n{table}",
        "[Table|Data|Input]:\n{table}\n\n[Do not change it|Change nothing|Keep it as it is]; [write it|print it|answer with it].",
    ],
    ["Please write the same table again.\n\n{table}", "{table}\n\nNow the same table from you."],
)
CONVERT = Phrases(
    [
        "[Convert|Turn|Change] this table [to|into] {format}:\n\n{table}",
        "{table}\n\n[Write|Give me|Show] this as {format}.",
        "[I need|Give me] {format} [from|of] this table.\n{table}",
        "[Reformat|Rewrite] as {format}:\n{table}",
        "{table}\n\n[Now|And now|Then] [in|as|into|to] {format}[.|, please.|!|]",
        "[Can|Could|Would|Will] you [turn|convert|change|make|transform|export|render] [this|it|the table|the data] [to|into|as] {format}?\n\n{table}",
        "{table}\n\n[I want|I prefer|We use|Our tool needs|My program reads] {format}.",
        "[Export|Output|Print|Return|Save|Format|Translate] [the table|it|this|the rows|the data] [as|in|to] {format}:\n\n{table}",
        "[Same data|The data|The rows|This table], but [as|in] {format}:\n{table}",
        "{format}:\n\n{table}",
        "{table}\n\n{format}",
        "{format}, please:\n{table}",
    ],
    ["Make {format} of this.\n\n{table}", "{table}\n\nPlease answer with the table as {format}."],
)
KEEP = Phrases(
    [
        "[Keep|Show|Give me] only the [columns|column] {columns}:\n\n{table}",
        "{table}\n\n[Cut|Reduce] it to the [columns|column] {columns}.",
        "[From|Of] this table I need only {columns}.\n{table}",
        "{table}\n\n[Only|Just] {columns}[|, please][.|]",
        "[Drop|Delete|Remove|Hide|Forget] [all|every column|the columns] [but|except|other than] {columns}:\n\n{table}",
        "{table}\n\n[I want|We need|Show|Select|Pick|Choose|Take|Extract] [only |just |][the columns |the column |]{columns}[.|]",
        "[Can|Could|Will] you [show|keep|select|give] [only|just] {columns} [of|from|in] this?\n{table}",
        "{table}\n\n[The table|A table|This] [with|of] [only|just] {columns}[.|]",
        "[Select|Filter|Project] {columns} [from|of|in]:\n\n{table}",
    ],
    ["Leave only {columns} in this table.\n\n{table}", "{table}\n\nThe same with nothing but {columns}."],
)
FORMATS: dict[str, list[str]] = {
    "markdown": ["Markdown", "a Markdown table", "markdown"],
    "csv": ["CSV", "comma-separated values", "csv"],
    "tsv": ["TSV", "tab-separated values"],
    "json": ["JSON", "a JSON list", "JSON rows"],
}


def markdown(rows: Rows) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0])] + lines[1:])


def csv(rows: Rows) -> str:
    return "\n".join(",".join(row) for row in rows)


def tsv(rows: Rows) -> str:
    return "\n".join("\t".join(row) for row in rows)


def as_json(rows: Rows) -> str:
    return "[" + ",\n ".join(dumps(dict(zip(rows[0], row))) for row in rows[1:]) + "]"


WRITE: dict[str, Callable[[Rows], str]] = {"markdown": markdown, "csv": csv, "tsv": tsv, "json": as_json}


def rows(w: Words, height: int = 0) -> Rows:
    """A header and its rows; the cells of a column are of one kind."""
    r = w.rng
    number: Callable[[], Any] = lambda: r.randint(0, 9999)
    kinds: list[Callable[[], Any]] = [
        w.person, w.first_name, w.place, w.coin, w.product, w.code, w.date, w.time, w.price, number, number,
        lambda: r.randint(0, 20), lambda: r.choice(["yes", "no"]), w.email, w.job, w.identifier, w.company,
    ]  # fmt: skip
    columns = [r.choice(kinds) for _ in range(r.randint(2, 5))]
    header: list[str] = []
    while len(header) < len(columns):
        name = r.choice([r.choice(ITEM_NOUNS), w.coin(), w.name(), w.identifier()])
        if name not in header:
            header.append(name)
    return [header] + [[str(column()) for column in columns] for _ in range(height or r.randint(1, 9))]


def make(w: Words, height: int = 0) -> Item:
    table, kind = rows(w, height), w.rng.random()
    source = w.rng.choice(list(WRITE))
    if kind < 0.4:
        shown = WRITE[source](table)
        return Item("table copy", [user(w.pick(COPY).format(table=shown))], shown)
    if kind < 0.85:
        target = w.rng.choice([f for f in WRITE if f != source])
        template, name = w.pick(CONVERT), w.rng.choice(FORMATS[target])
        name = name[0].upper() + name[1:] if template.startswith("{format}") else name
        text = template.format(format=name, table=WRITE[source](table))
        return Item("table reformat", [user(text)], WRITE[target](table))
    kept = sorted(w.rng.sample(range(len(table[0])), w.rng.randint(1, len(table[0]) - 1)))
    names = [table[0][i] for i in kept]
    said = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    cut = [[row[i] for i in kept] for row in table]
    return Item(
        "table reformat", [user(w.pick(KEEP).format(columns=said, table=WRITE[source](table)))], WRITE[source](cut)
    )
