"""Many clients of a text generator at once: mixed requests, aborts, few blocks, failing steps. Everyone who is not hit gets exactly
the answer that he gets alone, and nothing is left behind."""

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import httpx2
import pytest

DEMO = harness.ROOT / "examples" / "demo-model"
NUM_REQUESTS = 200
NUM_CLIENTS = 50
SUBJECTS = ["a mill", "the river", "three loaves of bread", "an old clock", "the price of tea", "a letter to Oslo"]


def make_request(rng, number):
    """A chat or a completion, streamed or not, greedy or drawn: nothing in it depends on anything but its number."""
    body = {"model": "demo-model", "max_tokens": rng.choice([1, 5, 20, 60]), "seed": number,
            "temperature": rng.choice([0, 0, 0.8, 1.5]), "top_p": rng.choice([1, 0.9]), "n": rng.choice([1, 1, 1, 3])}
    if rng.random() < 0.3:
        body["frequency_penalty"] = 0.5
    if rng.random() < 0.3:
        body["stop"] = rng.choice(["e", "\n", "the"])
    text = " ".join(["Tell me about", *rng.choices(SUBJECTS, k=rng.choice([1, 4, 30]))])
    if rng.random() < 0.6:
        return "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": text}]}
    return "/v1/completions", {**body, "prompt": text, "ignore_eos": rng.random() < 0.5}


def text_of(route, choice):
    return choice["message"]["content"] if route.endswith("chat/completions") else choice["text"]


def ask(client, route, body):
    """The texts and finish reasons of all choices."""
    reply = client.post(route, json=body)
    assert reply.status_code == 200, reply.text
    return [(text_of(route, choice), choice["finish_reason"]) for choice in reply.json()["choices"]]


def ask_streaming(client, route, body, abort_after=None):
    """The same through a stream; None when it was left after so many events."""
    texts, reasons = [""] * body["n"], [None] * body["n"]
    with client.stream("POST", route, json={**body, "stream": True}) as reply:
        assert reply.status_code == 200
        for number, line in enumerate(line for line in reply.iter_lines() if line.startswith("data: ")):
            if abort_after is not None and number >= abort_after:
                return None
            if line == "data: [DONE]":
                break
            event = json.loads(line[len("data: "):])
            if "error" in event:
                return event["error"]
            for choice in event["choices"]:
                delta = choice["delta"].get("content") if route.endswith("chat/completions") else choice["text"]
                texts[choice["index"]] += delta or ""
                reasons[choice["index"]] = choice["finish_reason"] or reasons[choice["index"]]
    return list(zip(texts, reasons))


def metric(client, name):
    """The sum of a metric over its labels."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def resident_bytes(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def wait_until_idle(client, timeout=30):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if metric(client, "millrace_engine_requests") == 0:
            return
        time.sleep(0.05)
    raise AssertionError(client.get("/metrics").text)


@pytest.fixture(scope="module")
def requests():
    rng = random.Random(20261128)
    return [make_request(rng, number) for number in range(NUM_REQUESTS)]


@pytest.fixture(scope="module")
def alone(demo_server, requests):
    """The answers when nobody else asks."""
    with httpx2.Client(base_url=demo_server.url, timeout=120) as client:
        return [ask(client, route, body) for route, body in requests]


def all_at_once(url, requests, abort_fraction=0.0):
    """Answers of NUM_CLIENTS clients; None for those that left. Each second one streams."""
    rng = random.Random(1)
    aborts = [rng.randint(0, 4) if rng.random() < abort_fraction else None for _ in requests]
    local = threading.local()

    def one(number):
        if not hasattr(local, "client"):
            local.client = httpx2.Client(base_url=url, timeout=300)
        route, body = requests[number]
        if aborts[number] is not None:
            return ask_streaming(local.client, route, body, aborts[number])
        return (ask_streaming if number % 2 else ask)(local.client, route, body)

    order = list(range(len(requests)))
    rng.shuffle(order)
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        found = dict(zip(order, pool.map(one, order)))
    return [found[number] for number in range(len(requests))]


def check(found, expected):
    answered = [number for number, answer in enumerate(found) if answer is not None]
    assert len(answered) >= len(found) / 2
    for number in answered:
        assert found[number] == expected[number], number


def test_everyone_gets_the_answer_that_he_gets_alone_also_while_others_leave(demo_server, requests, alone):
    with httpx2.Client(base_url=demo_server.url, timeout=60) as client:
        check(all_at_once(demo_server.url, requests, abort_fraction=0.3), alone)
        wait_until_idle(client)
        before = resident_bytes(demo_server)
        check(all_at_once(demo_server.url, requests, abort_fraction=0.3), alone)
        wait_until_idle(client)
        assert metric(client, "millrace_kv_cache_usage_ratio") == 0
        assert resident_bytes(demo_server) - before < 16 * 2**20


@pytest.mark.parametrize("policy", ["max_utilization", "guaranteed_no_evict"])
def test_the_same_where_blocks_are_few(requests, alone, policy, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"""\
model_name: demo-model
trt_llm:
  build:
    base_model: decoder
    checkpoint_repository: {{source: LOCAL, repo: {DEMO}}}
    max_seq_len: 512
    max_batch_size: 32
  runtime:
    batch_scheduler_policy: {policy}
    served_model_name: demo-model
millrace:
  kv_cache_bytes: {48 * 16 * 8 * 4 * 64 * 2 * 4}
  kv_block_size: 16
""")
    with harness.Server(config, "--max-queue-time-s", 3600) as server, httpx2.Client(base_url=server.url, timeout=60) as client:
        check(all_at_once(server.url, requests[:100]), alone)
        wait_until_idle(client)
        assert metric(client, "millrace_kv_cache_usage_ratio") == 0
        if policy == "max_utilization":
            assert metric(client, "millrace_preemptions_total") > 10


def test_a_failing_step_hurts_its_own_requests_alone(requests, alone, monkeypatch):
    """Each seventeenth launch fails and is tried again; at three places it fails until the request is given up."""
    lasting = ",".join(f"launch:at={number}" for first in (101, 301, 501) for number in range(first, first + 4))
    monkeypatch.setenv("MILLRACE_FAIL", "launch:every=17," + lasting)
    with harness.Server(DEMO, "--max-queue-time-s", 3600) as server, httpx2.Client(base_url=server.url, timeout=120) as client:
        def one(number):
            route, body = requests[number]
            reply = httpx2.post(server.url + route, json=body, timeout=300)
            if reply.status_code == 500:
                assert reply.json()["error"]["message"]
                return None
            assert reply.status_code == 200, reply.text
            return [(text_of(route, choice), choice["finish_reason"]) for choice in reply.json()["choices"]]

        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(one, range(60)))
        assert 1 <= found.count(None) <= 12
        check(found, alone[:60])
        wait_until_idle(client)
        assert client.get("/health").status_code == 200
        assert metric(client, "millrace_failed_steps_total") > 3
        assert metric(client, "millrace_kv_cache_usage_ratio") == 0


def test_a_queue_that_takes_too_long_is_refused():
    body = {"prompt": "The mill", "max_tokens": 1000, "ignore_eos": True}
    with harness.Server(DEMO, "--max-queue-time-s", "1", "--max-batch-size", "1") as server:
        with httpx2.Client(base_url=server.url, timeout=60) as client, ThreadPoolExecutor(16) as clients:
            def send(number):
                time.sleep(0.05 * number)  # each finds those before it in the queue
                return client.post("/v1/completions", json=body)
            assert send(0).status_code == 200  # from now on the server knows how long one takes
            replies = list(clients.map(send, range(16)))
            assert {reply.status_code for reply in replies} == {200, 429}
            for reply in replies:
                if reply.status_code == 429:
                    assert int(reply.headers["retry-after"]) >= 1
                    assert "would wait for" in reply.json()["error"]["message"]
                else:
                    assert reply.json()["usage"]["completion_tokens"] == 1000
            assert send(0).status_code == 200, "nobody waits any more"
