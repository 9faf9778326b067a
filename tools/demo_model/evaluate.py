"""Asks held-out exercises of a model and prints the table of right answers.

Through any OpenAI-compatible server:   python -m tools.demo_model.evaluate --base-url http://localhost:8000/v1
In this process, through transformers:  python -m tools.demo_model.evaluate --model examples/demo-model

Both ask the same items, greedily and unconstrained, and judge the answers alike: an answer is right if content and tool
calls equal the expected ones exactly. An answer that must be JSON also counts as valid if it parses.
"""

import argparse
import http.client
import json
import random
import re
import time
import urllib.error
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from . import fresh
from .adapters import CHANGES
from .item import Item
from .mixture import Maker
from .render import completion
from .tasks import calls, copying, dialogue, edits, extraction, sessions, sums, tables
from .words import Words

ROWS: dict[str, tuple[Maker, Callable[[Item], bool]]] = {
    "extraction": (extraction.make, lambda i: True),
    "tool call": (calls.make, lambda i: i.task == "tool call"),
    "no call": (calls.make, lambda i: i.task == "no call"),
    "tool result": (calls.result, lambda i: i.task == "tool result"),
    "code edit": (edits.make, lambda i: True),
    "table copy": (tables.make, lambda i: i.task == "table copy"),
    "table reformat": (tables.make, lambda i: i.task == "table reformat"),
    "sum": (sums.make, lambda i: True),
    "dialogue": (dialogue.make, lambda i: True),
    "copy": (copying.make, lambda i: True),
    "several turns": (sessions.make, lambda i: True),
}
Reply = dict[str, Any]  # {"content", "calls"}


def items_of(row: str, count: int, seed: int) -> list[Item]:
    maker, fits = ROWS[row]
    w = Words(random.Random(f"evaluation {seed} {row}"), held_out=True)
    out: list[Item] = []
    while len(out) < count:
        item = maker(w)
        if fits(item):
            out.append(item)
    return out


_call = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.S)


def parse(text: str) -> Reply:
    """Content and calls of raw text; what stands before `</think>` is no content."""
    text = text.split("</think>")[-1].strip("\n") if "</think>" in text else text
    found = []
    for block in _call.findall(text):
        try:
            call = json.loads(block)
            found.append({"name": call["name"], "arguments": call["arguments"]})
        except (ValueError, KeyError, TypeError):
            found.append({"name": "", "arguments": block})
    return {"content": _call.sub("", text).strip("\n"), "calls": found}


def ask_server(base_url: str, model: str, key: str, items: list[Item], limit: int) -> list[Reply]:
    def one(item: Item) -> Reply:
        body: dict[str, Any] = {"model": model, "messages": item.messages, "temperature": 0, "max_tokens": limit}
        if item.tools:
            body |= {"tools": item.tools, "tool_choice": "none"}  # the raw text of calls; parse() reads it
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        request = urllib.request.Request(base_url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            message = json.load(answer)["choices"][0]["message"]
        reply = parse(message.get("content") or "")
        reply["calls"] += [as_call(call["function"]) for call in message.get("tool_calls") or []]
        return reply

    try:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(one, sent(items)))
    except urllib.error.HTTPError as e:
        raise SystemExit(f"{e.url} answered {e.code}: {e.read(500).decode(errors='replace')}") from None
    except (OSError, http.client.HTTPException) as e:
        reason = getattr(e, "reason", None) or e
        raise SystemExit(f"no answer from {base_url}: {reason}; start a server there or give another address") from None
    except (ValueError, KeyError, IndexError, TypeError) as e:
        raise SystemExit(f"{base_url} does not answer as the OpenAI API does: {e!r}") from None


def as_call(function: dict[str, Any]) -> dict[str, Any]:
    """A call as the API gives it; one whose arguments are no JSON counts as broken, as in raw text."""
    try:
        return {"name": function["name"], "arguments": json.loads(function["arguments"])}
    except ValueError:
        return {"name": "", "arguments": function["arguments"]}


def sent(items: list[Item]) -> list[Item]:
    """Items as the API takes them: arguments of earlier calls are JSON text, calls carry ids."""

    def message(m: dict[str, Any], at: int) -> dict[str, Any]:
        if m.get("tool_calls"):
            made = [
                {
                    "id": f"call_{at}_{n}",
                    "type": "function",
                    "function": {
                        **c["function"],
                        "arguments": json.dumps(c["function"]["arguments"], ensure_ascii=False),
                    },
                }
                for n, c in enumerate(m["tool_calls"])
            ]
            return {**m, "tool_calls": made}
        return {**m, "tool_call_id": f"call_{at - 1}_0"} if m["role"] == "tool" else m

    return [replace(item, messages=[message(m, at) for at, m in enumerate(item.messages)]) for item in items]


class Local:
    """transformers, in this process; batches of like lengths, padded on the left."""

    def __init__(self, folder: str, adapter: str | None, dtype: str):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device).eval()
        if adapter:
            from .merge import merge

            merge(self.model, Path(adapter))

    def ask(self, items: list[Item], limit: int) -> list[Reply]:
        """An answer may be somewhat longer than the expected one, at most `limit` tokens; then it is cut, and wrong."""
        batch = 200 if self.model.device.type == "cuda" else 50
        prompts = [
            self.tokenizer.apply_chat_template(
                i.messages, tools=i.tools or None, add_generation_prompt=True, tokenize=False
            )
            for i in items
        ]
        order = sorted(range(len(items)), key=lambda n: len(prompts[n]))
        replies: list[Reply] = [{}] * len(items)
        for at in range(0, len(order), batch):
            chosen = order[at : at + batch]
            inputs = self.tokenizer(
                [prompts[n] for n in chosen], return_tensors="pt", padding=True, add_special_tokens=False
            )
            inputs.pop("token_type_ids", None)
            longest = min(limit, 32 + max(len(self.tokenizer(completion(items[n]))["input_ids"]) for n in chosen))
            with self.torch.no_grad():
                ids = self.model.generate(**inputs.to(self.model.device), max_new_tokens=longest, do_sample=False)
            for n, row in zip(chosen, ids[:, inputs["input_ids"].shape[1] :]):
                text = self.tokenizer.decode(row, skip_special_tokens=False)
                replies[n] = parse(text.split("<|im_end|>")[0].split("<|endoftext|>")[0])
        return replies


def is_json(text: str) -> bool:
    try:
        json.loads(text)
        return True
    except ValueError:
        return False


Ask = Callable[[list[Item]], list[Reply]]


def table(ask: Ask, rows: list[str], count: int, seed: int, change: Callable[[Item], Item], show: int = 0) -> None:
    """Asks `count` items of each row and prints a line for each; then the shares of well-formed answers."""
    valid: dict[str, list[bool]] = defaultdict(list)
    print(f"| {'task':<16} | items | exact % | seconds |\n| {'-' * 16} | ----: | ------: | ------: |", flush=True)
    for row in rows:
        items, begun = [change(item) for item in items_of(row, count, seed)], time.time()
        replies = ask(items)
        right = [r["content"] == i.answer and r["calls"] == i.calls for i, r in zip(items, replies)]
        for i, r in zip(items, replies):
            if i.answer[:1] in ("{", "[") and is_json(i.answer):
                valid["valid JSON"].append(is_json(r["content"]))
            if i.calls:
                valid["valid tool calls"].append(bool(r["calls"]) and all(c["name"] for c in r["calls"]))
        print(
            f"| {row:<16} | {len(items):>5} | {100 * sum(right) / len(right):>7.1f} | {time.time() - begun:>7.1f} |",
            flush=True,
        )
        for i, r in [(i, r) for i, r, ok in zip(items, replies, right) if not ok][:show]:
            print(
                json.dumps(
                    {"asked": i.messages[-1]["content"], "want": [i.answer, i.calls], "got": r}, ensure_ascii=False
                )
            )
    for kind, flags in valid.items():
        print(f"| {kind:<16} | {len(flags):>5} | {100 * sum(flags) / len(flags):>7.1f} |         |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--base-url", help="address of a server, with /v1")
    where.add_argument("--model", help="a checkpoint directory, run by transformers")
    parser.add_argument("--name", default="demo-model", help="model name sent to the server")
    parser.add_argument("--key", default="none", help="API key sent to the server")
    parser.add_argument("--adapter", help="LoRA directory, merged into the weights (with --model)")
    parser.add_argument("--as", dest="change", choices=list(CHANGES), help="expect the answers of this adapter")
    parser.add_argument("--fresh", action="store_true", help="ask with the wordings of fresh.py")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--count", type=int, default=200, help="items of each row")
    parser.add_argument("--limit", type=int, default=1500, help="most tokens of an answer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="print so many wrong answers of each row")
    a = parser.parse_args()
    if a.fresh:
        fresh.reword()
    local = Local(a.model, a.adapter, a.dtype) if a.model else None

    def ask(items: list[Item]) -> list[Reply]:
        return local.ask(items, a.limit) if local else ask_server(a.base_url, a.name, a.key, items, a.limit)

    table(ask, a.rows.split(","), a.count, a.seed, CHANGES[a.change] if a.change else lambda item: item, a.show)


if __name__ == "__main__":
    main()
