"""One exercise: a conversation up to the user's last word, and the answer that is right."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Item:
    task: str  # names a row of the evaluation table
    messages: list[dict[str, Any]]  # OpenAI chat messages; the last one is the user's or a tool's
    answer: str = ""  # content of the assistant's answer
    calls: list[dict[str, Any]] = field(default_factory=list)  # {"name", "arguments"} in order
    tools: list[dict[str, Any]] = field(default_factory=list)  # OpenAI tool definitions
    thought: str = ""  # reasoning shown before the answer
    learn_history: bool = True  # train on the earlier assistant turns as well

    def reply(self) -> dict[str, Any]:
        """The answer as an assistant message."""
        message: dict[str, Any] = {"role": "assistant", "content": self.answer}
        if self.calls:
            message["tool_calls"] = [{"type": "function", "function": call} for call in self.calls]
        if self.thought:
            message["reasoning_content"] = self.thought
        return message


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def dumps(value: Any) -> str:
    """JSON as the model writes it: one line, Python's separators, no escapes of letters."""
    return json.dumps(value, ensure_ascii=False)
