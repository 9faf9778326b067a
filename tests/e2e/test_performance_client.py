"""The Baseten Performance Client, unmodified: rerank, classify, batch_post, hedging, cancellation."""

import asyncio
import json
import time

import harness
import httpx2
import numpy as np
import pytest
import requests
from baseten_performance_client import CancellationToken, PerformanceClient, RequestProcessingPreference
from safetensors.numpy import load_file

MODEL = "all-MiniLM-L6-v2"
WHOLE = RequestProcessingPreference(batch_size=128, max_concurrent_requests=1)  # one request for all inputs
RERANK_CUT = (1, 2, 3)  # pairs of bert_rerank that transformers cuts at the tokenizer's own limit


class GoldenClassifier:
    """A random checkpoint, served as it is, and what transformers says of its texts."""

    def __init__(self, name):
        self.path = harness.GOLDEN / name
        self.texts = json.loads((self.path / "texts.json").read_text())
        self.config = json.loads((self.path / "config.json").read_text())
        self.logits = load_file(self.path / "expected.safetensors")["logits"].astype(np.float64)
        self.labels = [label for _, label in sorted(self.config["id2label"].items(), key=lambda kv: int(kv[0]))]


@pytest.fixture(scope="module")
def reranker():
    golden = GoldenClassifier("bert_rerank")
    with harness.Server(golden.path) as server:
        yield golden, PerformanceClient(base_url=server.url, api_key="none")


@pytest.fixture(scope="module")
def classifier():
    golden = GoldenClassifier("bert_classify")
    with harness.Server(golden.path) as server:
        yield golden, PerformanceClient(base_url=server.url, api_key="none")


@pytest.fixture(scope="module")
def embedder(server):
    return PerformanceClient(base_url=server.url, api_key="none")


def metric(server, name):
    for line in httpx2.get(f"{server.url}/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


def wait_until_idle(server):
    for _ in range(1200):
        if metric(server, "millrace_requests_in_flight") == 0:
            return
        time.sleep(0.05)
    raise AssertionError("requests are still in flight after a minute")


def close(found, expected):
    return np.allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_rerank_scores_equal_transformers(reranker):
    golden, client = reranker
    for index, ((query, text), logit) in enumerate(zip(golden.texts, golden.logits[:, 0])):
        if index in RERANK_CUT:
            continue
        raw, score = (client.rerank(query=query, texts=[text], raw_scores=raw_scores, truncate=True).data
                      for raw_scores in (True, False))
        assert [item.index for item in raw + score] == [0, 0]
        assert close(raw[0].score, logit)
        assert close(score[0].score, 1 / (1 + np.exp(-logit)))


def test_rerank_is_sorted_and_whole(reranker):
    golden, client = reranker
    query = golden.texts[0][0]
    texts = [text for _, text in golden.texts]
    reply = client.rerank(query=query, texts=texts, return_text=True, truncate=True, preference=WHOLE)
    assert len(reply.individual_request_times) == 1
    reply = reply.data
    assert sorted(item.index for item in reply) == list(range(len(texts)))
    assert all(item.text == texts[item.index] for item in reply)
    scores = [item.score for item in reply]
    assert scores == sorted(scores, reverse=True)
    assert all(item.text is None for item in client.rerank(query=query, texts=texts, truncate=True).data)


def test_rerank_in_batches_gives_the_same_scores(reranker):
    golden, client = reranker
    query = golden.texts[0][0]
    texts = [text for _, text in golden.texts]
    small = RequestProcessingPreference(batch_size=3, max_concurrent_requests=4)
    whole, parts = (
        {item.index: item.score
         for item in client.rerank(query=query, texts=texts, truncate=True, preference=preference).data}
        for preference in (WHOLE, small))
    assert whole == parts


def test_rerank_truncates_when_told_and_refuses_otherwise(reranker):
    golden, client = reranker
    query, text = golden.texts[1]  # longer than the limit; the client's default is truncate=False
    once = RequestProcessingPreference(max_retries=0)
    with pytest.raises(requests.exceptions.HTTPError) as refused:
        client.rerank(query=query, texts=[text], preference=once)
    assert refused.value.args[0] in (400, 413, 422)
    scores = {direction: client.rerank(query=query, texts=[text], raw_scores=True, truncate=True,
                                       truncation_direction=direction).data[0].score
              for direction in ("Left", "Right")}
    assert scores["Left"] != scores["Right"]


def test_classify_equals_transformers(classifier):
    golden, client = classifier
    texts = [text for text in golden.texts if isinstance(text, str)]  # the client has no pairs
    assert len(texts) > 10
    logits = golden.logits[:len(texts)]
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for raw_scores, expected in ((True, logits), (False, softmax)):
        reply = client.classify(inputs=texts, raw_scores=raw_scores, truncate=True).data
        assert len(reply) == len(texts)
        for items, row in zip(reply, expected):
            scores = [item.score for item in items]
            assert scores == sorted(scores, reverse=True)
            assert close([{i.label: i.score for i in items}[label] for label in golden.labels], row)


def test_classify_keeps_the_order_of_inputs_over_batches(classifier):
    golden, client = classifier
    texts = [text for text in golden.texts if isinstance(text, str)] * 20
    small = RequestProcessingPreference(batch_size=7, max_concurrent_requests=8)
    whole, parts = ([[(item.label, item.score) for item in items]
                     for items in client.classify(inputs=texts, truncate=True, preference=preference).data]
                    for preference in (WHOLE, small))
    assert whole == parts


def test_embed_on_a_classifier_is_refused_with_a_sentence(classifier):
    _, client = classifier
    with pytest.raises(requests.exceptions.HTTPError) as refused:
        client.embed(input=["a"], model="m", preference=RequestProcessingPreference(max_retries=0))
    assert "classif" in str(refused.value)


def test_embed_splits_by_characters_and_concurrency(embedder, texts, golden):
    many = RequestProcessingPreference(max_concurrent_requests=64, batch_size=16, max_chars_per_request=400)
    reply = embedder.embed(input=texts, model=MODEL, preference=many)
    vectors = reply.numpy()
    assert [item.index for item in reply.data] == list(range(len(texts)))
    assert np.linalg.norm(vectors - golden.embeddings, axis=1).max() <= 1e-4
    one = embedder.embed(input=texts, model=MODEL, preference=WHOLE)
    assert np.array_equal(one.numpy(), vectors)
    assert len(reply.individual_request_times) > len(one.individual_request_times)


def test_batch_post_reaches_any_route(embedder, server, texts):
    payloads = [{"input": text, "encoding_format": "float"} for text in texts[:20]]
    reply = embedder.batch_post("/v1/embeddings", payloads)
    for payload, answer in zip(payloads, reply.data, strict=True):
        plain = httpx2.post(f"{server.url}/v1/embeddings", json=payload).json()
        assert np.array_equal(np.float32(answer["data"][0]["embedding"]),
                              np.float32(plain["data"][0]["embedding"]))
        assert answer["usage"] == plain["usage"]
    models = embedder.batch_post("/v1/models", [{}], method="GET").data[0]
    assert models["object"] == "list"


def test_packed_answers_hold_the_same_numbers(embedder, server, texts):
    """The client says `Accept: application/json, application/msgpack` and `Accept-Encoding: zstd`."""
    payload = {"input": texts[:100], "encoding_format": "float"}
    asked_alike = {"accept": "application/json, application/msgpack", "accept-encoding": "zstd"}
    reply = httpx2.post(f"{server.url}/v1/embeddings", json=payload, headers=asked_alike)
    assert reply.headers["content-encoding"] == "zstd"
    plain = httpx2.post(f"{server.url}/v1/embeddings", json=payload, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    unpacked = embedder.batch_post("/v1/embeddings", [payload]).data[0]
    only_msgpack = RequestProcessingPreference(extra_headers={"Accept": "application/msgpack"})
    packed = embedder.batch_post("/v1/embeddings", [payload], preference=only_msgpack)
    assert packed.response_headers[0]["content-type"].startswith("application/msgpack")
    for items in zip(unpacked["data"], packed.data[0]["data"], plain.json()["data"], strict=True):
        vectors = [np.float32(item["embedding"]) for item in items]
        assert np.array_equal(vectors[0], vectors[2]) and np.array_equal(vectors[1], vectors[2])


@harness.needs_slow_steps
def test_hedged_requests_get_one_answer_and_leave_nothing_behind(embedder, server, texts):
    hedging = RequestProcessingPreference(batch_size=64, hedge_delay=0.05, hedge_budget_pct=3.0)
    inputs = (texts * 4)[:512]
    before = metric(server, "millrace_inputs_total")
    reply = embedder.embed(input=inputs, model=MODEL, preference=hedging)
    assert np.array_equal(reply.numpy(), embedder.embed(input=inputs, model=MODEL).numpy())
    assert metric(server, "millrace_inputs_total") - before > 2 * len(inputs)  # there were hedges
    wait_until_idle(server)


@harness.needs_slow_steps
def test_cancelled_work_is_not_computed(embedder, server):
    """A cancelled task drops its requests: the connections close, and what waits is not computed."""
    inputs = [f"word {i} " * 120 for i in range(2048)]  # half a minute of work
    computed = metric(server, "millrace_sequences_total")

    async def cancel_after_a_second():
        task = asyncio.ensure_future(embedder.async_embed(
            input=inputs, model=MODEL, preference=RequestProcessingPreference(batch_size=32)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_after_a_second())
    wait_until_idle(server)
    assert metric(server, "millrace_sequences_total") - computed < len(inputs)
    assert embedder.embed(input=["a"], model=MODEL).numpy().shape == (1, 384)


def test_a_token_cancelled_before_the_call_sends_nothing(embedder, server):
    token = CancellationToken()
    token.cancel()
    before = metric(server, "millrace_inputs_total")
    preference = RequestProcessingPreference(cancel_token=token)

    async def embed():
        return await embedder.async_embed(input=["a"], model=MODEL, preference=preference)

    with pytest.raises(ValueError, match="cancel"):
        asyncio.run(embed())
    assert metric(server, "millrace_inputs_total") == before


@harness.needs_slow_steps
def test_a_timeout_ends_the_work(embedder, server):
    """The client sends its deadline, and hangs up when it has passed."""
    impatient = RequestProcessingPreference(timeout_s=0.3, batch_size=128, max_retries=0, retry_budget_pct=0.0)
    inputs = [f"word {i} " * 120 for i in range(1024)]
    computed = metric(server, "millrace_sequences_total")
    with pytest.raises(Exception, match="(?i)timed? ?out|deadline|504|408"):
        embedder.embed(input=inputs, model=MODEL, preference=impatient)
    wait_until_idle(server)
    assert metric(server, "millrace_sequences_total") - computed < len(inputs)
