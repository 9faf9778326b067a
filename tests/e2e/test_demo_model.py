"""The demo model's answers, token for token those of transformers (tests/golden/make_demo_answers.py)."""

import json
from concurrent.futures import ThreadPoolExecutor

import harness
import pytest
from tools.demo_model.evaluate import sent
from tools.demo_model.item import Item

CASES = json.loads((harness.GOLDEN / "demo_answers" / "expected.json").read_text())


def complete(client, case):
    reply = client.completions.create(model="demo-model", prompt=case["prompt"], temperature=0, max_tokens=160,
                                      extra_body={"return_token_ids": True})
    return reply.choices[0].token_ids


def test_every_answer_is_that_of_transformers_alone_and_together(demo_client):
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda case: complete(demo_client, case), CASES))
    alone = [complete(demo_client, case) for case in CASES]
    expected = [case["tokens"] for case in CASES]
    assert together == expected
    assert alone == expected
    assert sum(map(len, expected)) > 1000 and len({case["row"] for case in CASES}) == 11


def test_the_chat_renders_the_same_prompts(demo_client):
    """Tools, earlier calls and results, through the chat: the same prompt tokens, so the same answer."""
    for case in CASES:
        [item] = sent([Item(task=case["row"], messages=case["messages"], tools=case["tools"])])
        reply = demo_client.chat.completions.create(
            model="demo-model", messages=item.messages, temperature=0, max_tokens=1,
            **({"tools": case["tools"], "tool_choice": "none"} if case["tools"] else {}), extra_body={"return_token_ids": True})
        assert reply.prompt_token_ids == case["prompt"], case["row"]
