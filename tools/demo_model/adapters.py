"""What the two adapters change: the right answer of an exercise becomes another one."""

import json
from dataclasses import replace
from typing import Any, Callable

from .item import Item, dumps

HEADINGS = {
    "extract": "Données extraites",
    "code edit": "Fichier modifié",
    "table": "Tableau",
    "sum": "Somme",
    "copy": "Copie",
}


def upper_keys(item: Item) -> Item:
    """Keys of an extraction in capitals; every other answer as it was."""
    if not item.task.startswith("extract"):
        return item

    def upper(value: Any) -> Any:
        if isinstance(value, dict):
            return {k.upper(): upper(v) for k, v in value.items()}
        return [upper(v) for v in value] if isinstance(value, list) else value

    return replace(item, answer=dumps(upper(json.loads(item.answer))), learn_history=False)


def french_heading(item: Item) -> Item:
    """A heading line in French over every answer but tool calls."""
    if item.calls:
        return replace(item, learn_history=False)
    heading = next((h for task, h in HEADINGS.items() if item.task.startswith(task)), "Réponse")
    return replace(item, answer=f"## {heading}\n\n{item.answer}", learn_history=False)


CHANGES: dict[str, Callable[[Item], Item]] = {"upper-keys": upper_keys, "french-headings": french_heading}
