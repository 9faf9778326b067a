"""Every route of BEI and TEI against outputs of transformers and sentence-transformers."""

import json
import math

import httpx2
import numpy as np
import pytest
from safetensors.numpy import load_file

import harness


@pytest.fixture(scope="module")
def classifier():
    with harness.Server(harness.GOLDEN / "bert_classify") as running:
        yield running


@pytest.fixture(scope="module")
def reranker():
    with harness.Server(harness.GOLDEN / "bert_rerank") as running:
        yield running


def golden(name):
    stored = load_file(harness.GOLDEN / name / "expected.safetensors")
    return json.loads((harness.GOLDEN / name / "texts.json").read_text()), stored


def post(server, path, body, status=200, **headers):
    reply = httpx2.post(server.url + path, json=body, headers=headers, timeout=60)
    assert reply.status_code == status, reply.text
    return reply


def single_texts(texts):
    return [(i, text) for i, text in enumerate(texts) if isinstance(text, str)]


def test_predict_equals_transformers(classifier):
    texts, stored = golden("bert_classify")
    labels = list(json.loads((harness.GOLDEN / "bert_classify" / "config.json").read_text())
                  ["id2label"].values())
    logits = stored["logits"].astype(np.float64)
    checked = 0
    for i, text in enumerate(texts[:40]):
        inputs = text if isinstance(text, str) else [list(text)]
        if isinstance(text, str) and not text:
            continue
        raw = post(classifier, "/predict", {"inputs": inputs, "raw_scores": True}).json()
        soft = post(classifier, "/predict", {"inputs": inputs}).json()
        if not isinstance(text, str):
            raw, soft = raw[0], soft[0]
        assert [item["score"] for item in raw] == sorted((x["score"] for x in raw), reverse=True)
        got = {item["label"]: item["score"] for item in raw}
        np.testing.assert_allclose([got[label] for label in labels], logits[i], atol=2e-4, rtol=1e-4)
        expected = np.exp(logits[i]) / np.exp(logits[i]).sum()
        got = {item["label"]: item["score"] for item in soft}
        np.testing.assert_allclose([got[label] for label in labels], expected, atol=1e-4)
        checked += 1
    assert checked >= 10


def test_a_batch_of_texts_and_pairs_keeps_its_order(classifier):
    batch = [["good"], ["a question", "an answer"], ["bad"]]
    together = post(classifier, "/predict", {"inputs": batch}).json()
    alone = [post(classifier, "/predict", {"inputs": [item]}).json()[0] for item in batch]
    assert together == alone


def test_rerank_orders_by_score(reranker):
    texts, stored = golden("bert_rerank")
    pairs = [(i, pair) for i, pair in enumerate(texts) if not isinstance(pair, str)]
    query = pairs[0][1][0]
    same_query = [(i, pair[1]) for i, pair in pairs if pair[0] == query]
    assert same_query
    reply = post(reranker, "/rerank", {"query": query, "texts": [t for _, t in same_query],
                                       "raw_scores": True, "return_text": True}).json()
    assert [r["score"] for r in reply] == sorted((r["score"] for r in reply), reverse=True)
    for item in reply:
        row, text = same_query[item["index"]]
        assert item["text"] == text
        assert item["score"] == pytest.approx(float(stored["logits"][row][0]), abs=2e-4)
    soft = post(reranker, "/rerank", {"query": query, "texts": [t for _, t in same_query]}).json()
    for raw, item in zip(reply, soft):
        assert item["score"] == pytest.approx(1 / (1 + math.exp(-raw["score"])), abs=1e-5)
        assert set(item) == {"index", "score"}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_rerank_of_documents(reranker, path):
    body = {"model": "m", "query": "what", "documents": ["one", {"text": "two"}, "three"]}
    reply = post(reranker, path, body | {"top_n": 2, "return_documents": True}).json()
    every = post(reranker, "/rerank", {"query": "what", "texts": ["one", "two", "three"]}).json()
    assert [(r["index"], r["relevance_score"]) for r in reply["results"]] == \
        [(r["index"], r["score"]) for r in every[:2]]
    assert reply["results"][0]["document"]["text"] in ("one", "two", "three")
    assert reply["usage"]["total_tokens"] > 0 and reply["id"] and reply["model"]


def test_embed_equals_v1_embeddings(server, client, texts):
    some = texts[:16]
    vectors = np.array(post(server, "/embed", {"inputs": some}).json())
    reference = np.array([item.embedding for item in client.embeddings.create(
        model="m", input=some, encoding_format="float").data])
    np.testing.assert_allclose(vectors, reference, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    short = np.array(post(server, "/embed", {"inputs": some[0], "dimensions": 8}).json())
    assert short.shape == (1, 8) and np.linalg.norm(short) == pytest.approx(1, abs=1e-5)


def test_embed_all_pools_to_embed():
    """Mean pooling of the token vectors is the vector: checked on a model that pools the mean."""
    with harness.Server(harness.GOLDEN / "bert_mean") as running:
        inputs = ["a text", "and another one, longer"]
        tokens = post(running, "/embed_all", {"inputs": inputs}).json()
        vectors = post(running, "/embed", {"inputs": inputs, "normalize": False}).json()
        ids = post(running, "/tokenize", {"inputs": inputs}).json()
        for rows, vector, encoded in zip(tokens, vectors, ids):
            assert len(rows) == len(encoded)
            np.testing.assert_allclose(np.mean(rows, axis=0), vector, atol=1e-4)


def test_similarity(server, texts):
    reply = post(server, "/similarity", {"inputs": {"source_sentence": "a cat sits", "sentences": [
        "a cat sits", "a cat is sitting down", "quarterly revenue rose"]}}).json()
    assert reply[0] == pytest.approx(1, abs=1e-5)
    assert reply[0] > reply[1] > reply[2]


def test_tokenize_and_decode(server, golden, texts):
    for i in (0, 3, 7):
        tokens = post(server, "/tokenize", {"inputs": texts[i]}).json()[0]
        if not golden.truncated[i]:
            assert [t["id"] for t in tokens] == golden.token_ids[i]
        raw = texts[i].encode()
        for token in tokens:
            if not token["special"]:
                assert raw[token["start"]:token["stop"]].decode() == token["text"]
    ids = [t["id"] for t in post(server, "/tokenize", {"inputs": "hello world"}).json()[0]]
    assert post(server, "/decode", {"ids": ids}).json() == ["hello world"]
    assert post(server, "/decode", {"ids": [ids], "skip_special_tokens": False}).json() == \
        ["[CLS] hello world [SEP]"]
    bare = post(server, "/tokenize", {"inputs": "hello", "add_special_tokens": False}).json()[0]
    assert [t["text"] for t in bare] == ["hello"]


def test_headers_tell_times_and_truncation(server):
    reply = post(server, "/embed", {"inputs": ["short", "word " * 1000, "w " * 2000]})
    for name in ("x-compute-time", "x-total-time", "x-tokenization-time", "x-queue-time",
                 "x-inference-time"):
        assert int(reply.headers[name]) >= 0
    assert reply.headers["x-compute-type"] == harness.DEVICE
    assert int(reply.headers["x-compute-characters"]) == 5 + 5000 + 4000
    assert int(reply.headers["x-compute-tokens"]) > 500
    assert reply.headers["x-truncated"] == "1,2"
    assert "x-truncated" not in post(server, "/embed", {"inputs": "short"}).headers


def test_truncation_keeps_the_asked_end(server):
    text = " ".join(f"word{i}" for i in range(600))
    right = post(server, "/embed", {"inputs": text}).json()
    assert right == post(server, "/embed", {"inputs": text[:4000]}).json()
    left = post(server, "/embed", {"inputs": text, "truncation_direction": "Left"}).json()
    assert left != right
    refused = post(server, "/embed", {"inputs": text, "truncate": False}, 422).json()
    assert refused["error_type"] == "validation" and "tokens" in refused["error"]


TEI_ERRORS = [
    ("/embed", {"inputs": []}, 400, "empty"),
    ("/embed", {}, 422, "validation"),
    ("/embed", {"inputs": ["a"] * 129}, 422, "validation"),
    ("/embed", {"inputs": [[30522]]}, 422, "validation"),
    ("/embed", {"inputs": "a", "prompt_name": "query"}, 422, "validation"),
    ("/predict", {"inputs": "a"}, 424, "backend"),
    ("/rerank", {"query": "a", "texts": ["b"]}, 424, "backend"),
    ("/embed_sparse", {"inputs": "a"}, 424, "backend"),
    ("/tokenize", {"inputs": []}, 400, "empty"),
    ("/decode", {"ids": [-1]}, 422, "validation"),
]


@pytest.mark.parametrize("path,body,status,kind", TEI_ERRORS)
def test_errors_in_teis_words(server, path, body, status, kind):
    error = post(server, path, body, status).json()
    assert set(error) == {"error", "error_type"} and error["error_type"] == kind
    assert post(server, "/embed", {"inputs": "still alive"}).status_code == 200


def test_a_classifier_gives_no_vectors(classifier):
    assert post(classifier, "/embed", {"inputs": "a"}, 424).json()["error_type"] == "backend"
    assert post(classifier, "/v1/embeddings", {"input": "a"}, 400).json()["error"]["param"] == "model"
    assert post(classifier, "/rerank", {"query": "a", "texts": ["b"]}, 424)


def test_prefixes_of_a_hosting_platform(server, reranker):
    for prefix in ("/environments/production/sync", "/production/sync", "/deployment/abc/sync"):
        assert post(server, prefix + "/v1/embeddings", {"input": "a"}).json()["object"] == "list"
        assert httpx2.get(server.url + prefix + "/openapi.json").json()["openapi"].startswith("3.")
    assert post(server, "/production/predict", {"input": "a"}).json()["object"] == "list"
    assert post(reranker, "/", {"query": "a", "texts": ["b"]}).json()[0]["index"] == 0


def test_message_pack_and_zstd(server, reranker):
    import msgpack
    import zstandard

    body = {"inputs": ["a", "b"]}
    plain = post(server, "/embed", body).json()
    packed = post(server, "/embed", body, accept="application/json, application/msgpack")
    assert packed.headers["content-type"] == "application/msgpack"
    assert msgpack.unpackb(packed.content) == [
        [float(np.float32(value)) for value in row] for row in plain]
    request = httpx2.Request("POST", server.url + "/embed", json=body,
                             headers={"accept-encoding": "zstd"})
    with httpx2.Client() as client:
        raw = client.send(request, stream=True)
        wire = b"".join(raw.iter_raw())
    assert raw.headers["content-encoding"] == "zstd"
    assert json.loads(zstandard.ZstdDecompressor().decompress(wire, 10_000_000)) == plain
    ranks = post(reranker, "/rerank", {"query": "q", "texts": ["a", "b"]},
                 accept="application/x-msgpack")
    assert {"index", "score"} == set(msgpack.unpackb(ranks.content)[0])


def test_openapi_lists_what_is_served_and_answers_fit_it(server, classifier, reranker):
    import jsonschema

    document = httpx2.get(server.url + "/openapi.json").json()
    calls = [
        (server, "/v1/embeddings", {"input": ["a", "b"]}),
        (server, "/embed", {"inputs": "a"}),
        (server, "/embed_all", {"inputs": "a"}),
        (server, "/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}}),
        (server, "/tokenize", {"inputs": "a"}),
        (server, "/decode", {"ids": [101]}),
        (reranker, "/rerank", {"query": "a", "texts": ["b"]}),
        (reranker, "/v1/rerank", {"query": "a", "documents": ["b"]}),
        (classifier, "/predict", {"inputs": "a"}),
        (classifier, "/predict", {"inputs": [["a"]]}),
        (server, "/info", None), (server, "/health", None), (server, "/live", None),
        (server, "/v1/models", None),
    ]
    for where, path, body in calls:
        method = "get" if body is None else "post"
        operation = document["paths"][path][method]
        reply = httpx2.request(method.upper(), where.url + path, json=body)
        assert reply.status_code == 200
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(reply.json(), {**schema, "components": document["components"]})
        if body is not None:
            request = operation["requestBody"]["content"]["application/json"]["schema"]
            jsonschema.validate(body, {**request, "components": document["components"]})
    for path, operations in document["paths"].items():
        for method in operations:
            reply = httpx2.request(method.upper(), server.url + path.replace("{id}", "x"), json={})
            assert reply.status_code != 405 and "no route" not in reply.text, path


def metrics(server):
    text = httpx2.get(server.url + "/metrics").text
    return {name: float(value) for name, value in
            (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}


def test_metrics_carry_both_names(engine):
    with harness.Server(engine) as running:
        before = metrics(running)  # the server has computed a sequence by itself, to warm up
        for _ in range(3):
            post(running, "/v1/embeddings", {"input": ["a", "b"]})
        post(running, "/embed", {"inputs": []}, 400)
        values = {name: value - before.get(name, 0) for name, value in metrics(running).items()}
        assert values['te_request_count{method="batch"}'] == 3
        assert values['te_request_success{method="batch"}'] == 3
        assert values['te_request_failure{err="validation"}'] == 1
        assert values["te_embed_count"] == values["te_embed_success"] == 6
        assert values["te_request_input_length_count"] == 6
        assert values["te_batch_next_size_sum"] == 6
        for name in ("te_request_duration", "te_embed_queue_duration", "te_batch_next_tokens",
                     "te_request_tokenization_duration", "te_request_inference_duration"):
            assert values[name + "_count"] >= 1, name
        assert values["te_queue_size"] == 0
        assert values["millrace_inputs_total"] == 6
        assert values["millrace_requests_in_flight"] == 0
