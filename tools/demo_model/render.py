"""Conversations as text and as tokens: what chat_template.jinja renders, fast enough to make training data.

`prompt` equals the template; a unit test proves it on random conversations.
"""

import json
from typing import Any

from .item import Item

EMPTY_THOUGHT = "<think>\n\n</think>\n\n"
TOOLS_HEAD = "# Tools\n\nEach line within <tools></tools> is the signature of a function you may call:\n<tools>"
TOOLS_TAIL = (
    "\n</tools>\n\nTo call one, answer with its name and arguments as JSON within <tool_call></tool_call>:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


def call_text(call: dict[str, Any]) -> str:
    arguments = call["arguments"]
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return f'<tool_call>\n{{"name": "{call["name"]}", "arguments": {arguments}}}\n</tool_call>'


def answer_text(content: str, calls: list[dict[str, Any]]) -> str:
    """What the assistant writes after its header, without thought and end."""
    return "\n".join(([content] if content else []) + [call_text(call) for call in calls])


def turns(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(header, body) of each turn that the template renders for history; bodies end before `<|im_end|>`."""
    out: list[tuple[str, str]] = []
    first = messages[0]["content"] if messages[0]["role"] == "system" else None
    if tools:
        lines = "".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in tools)
        out.append(("system\n", (first + "\n\n" if first is not None else "") + TOOLS_HEAD + lines + TOOLS_TAIL))
    elif first is not None:
        out.append(("system\n", first))
    last_query = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    previous = ""
    for i, message in enumerate(messages[first is not None :], start=first is not None):
        role, content = message["role"], message["content"]
        if role == "assistant":
            text = answer_text(content, [c["function"] for c in message.get("tool_calls", [])])
            if i > last_query and message.get("reasoning_content"):
                text = f"<think>\n{message['reasoning_content']}\n</think>\n\n" + text
            out.append(("assistant\n", text))
        elif role == "tool":
            block = f"\n<tool_response>\n{content}\n</tool_response>"
            if previous == "tool":
                header, body = out.pop()
                out.append((header, body + block))
            else:
                out.append(("user", block))
        else:
            out.append((role + "\n", content))
        previous = role
    return out


def prompt(item: Item, thinking: bool = True) -> str:
    """The text before the answer: `add_generation_prompt=True` of the template."""
    text = "".join(f"<|im_start|>{header}{body}<|im_end|>\n" for header, body in turns(item.messages, item.tools))
    return text + "<|im_start|>assistant\n" + ("" if thinking else EMPTY_THOUGHT)


def completion(item: Item, thinking: bool = True) -> str:
    """The text that is to be generated, its end included."""
    thought = f"<think>\n{item.thought}\n</think>\n\n" if item.thought and thinking else ""
    return thought + answer_text(item.answer, item.calls) + "<|im_end|>"


def segments(item: Item, thinking: bool = True) -> list[tuple[str, bool]]:
    """The whole conversation cut into (text, is it the assistant's to write); ends with `<|endoftext|>`.

    Cuts lie where the tokenizer cuts too, so the pieces' tokens are the tokens of the whole.
    """
    out: list[tuple[str, bool]] = []
    pending = ""
    for header, body in turns(item.messages, item.tools):
        pending += "<|im_start|>" + header
        if header == "assistant\n" and item.learn_history:
            out += [(pending, False), (body + "<|im_end|>", True)]
            pending = "\n"
        else:
            pending += body + "<|im_end|>\n"
    pending += "<|im_start|>assistant\n" + ("" if thinking else EMPTY_THOUGHT)
    out += [(pending, False), (completion(item, thinking), True), ("\n<|endoftext|>", False)]
    return out
