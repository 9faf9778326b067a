"""/v1/embeddings through the official clients: equal to sentence-transformers, in every form."""

import base64
import concurrent.futures

import httpx2
import numpy as np
import openai
import pytest
from baseten_performance_client import PerformanceClient

MODEL = "all-MiniLM-L6-v2"
BATCH = 100  # inputs per request; the server's limit is 128


def embed(client, inputs, **options):
    """All inputs in as few requests as allowed: (vectors, items)."""
    items = []
    for begin in range(0, len(inputs), BATCH):
        items += client.embeddings.create(
            model=MODEL, input=inputs[begin:begin + BATCH], **options).data
    vectors = [np.frombuffer(base64.b64decode(item.embedding), "<f4")
               if isinstance(item.embedding, str) else np.array(item.embedding, "<f4")
               for item in items]
    return np.stack(vectors), items


def assert_golden(vectors, golden):
    assert vectors.shape == golden.embeddings.shape
    vectors = vectors.astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    assert np.allclose(norms, 1, atol=1e-5)
    cosines = (vectors * golden.embeddings).sum(axis=1) / norms
    cosines /= np.linalg.norm(golden.embeddings, axis=1)
    assert cosines.min() >= 0.99999, f"text {cosines.argmin()}: cosine {cosines.min()}"
    errors = np.linalg.norm(vectors - golden.embeddings, axis=1)
    assert errors.max() <= 1e-4, f"text {errors.argmax()}: relative error {errors.max()}"


@pytest.fixture(scope="module")
def batched(client, texts):
    return embed(client, texts, encoding_format="base64")


def test_all_texts_equal_sentence_transformers(batched, golden):
    assert_golden(batched[0], golden)


def test_float_and_default_encodings_carry_the_same_bits(client, texts, batched):
    floats, items = embed(client, texts, encoding_format="float")
    assert all(isinstance(item.embedding, list) for item in items)
    assert np.array_equal(floats, batched[0])
    default, _ = embed(client, texts)
    assert np.array_equal(default, batched[0])


def test_one_by_one_equals_batch_bit_for_bit(client, texts, batched):
    for text, vector in zip(texts, batched[0], strict=True):
        single, _ = embed(client, [text], encoding_format="base64")
        assert np.array_equal(single[0], vector), text


def test_concurrent_clients_get_their_own_vectors(client, texts, batched):
    order = np.random.default_rng().permutation(len(texts))
    print("order", order.tolist())
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = pool.map(lambda i: embed(client, [texts[i]], encoding_format="base64")[0][0], order)
        for index, vector in zip(order, replies, strict=True):
            assert np.array_equal(vector, batched[0][index])


def test_truncation_is_told(batched, golden):
    told = [bool(getattr(item, "truncated", False)) for item in batched[1]]
    assert any(golden.truncated)
    assert told == golden.truncated.tolist()


def test_truncate_false_refuses_over_length(client, texts, golden):
    over_length = texts[int(np.flatnonzero(golden.truncated)[0])]
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=MODEL, input=over_length, extra_body={"truncate": False})
    assert refused.value.code == "context_length_exceeded"
    assert "256" in refused.value.message
    fits = client.embeddings.create(model=MODEL, input=texts[0], extra_body={"truncate": False})
    assert len(fits.data) == 1


def test_truncation_direction(client):
    long = " ".join(f"word{i}" for i in range(400))
    right, left = (
        client.embeddings.create(model=MODEL, input=long, encoding_format="float",
                                 extra_body={"truncation_direction": direction}).data[0]
        for direction in ("Right", "Left"))
    assert right.truncated and left.truncated
    assert right.embedding != left.embedding
    default = client.embeddings.create(model=MODEL, input=long, encoding_format="float").data[0]
    assert default.embedding == right.embedding


def test_normalize(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model=MODEL, input="a", extra_body={"normalize": False})
    assert refused.value.param == "normalize"
    assert client.embeddings.create(model=MODEL, input="a", extra_body={"normalize": True}).data


def test_reply_shape_and_usage(client, texts, golden):
    reply = client.embeddings.create(model=MODEL, input=texts[:7])
    assert reply.object == "list"
    assert reply.model
    assert [item.index for item in reply.data] == list(range(7))
    assert {item.object for item in reply.data} == {"embedding"}
    assert reply.usage.prompt_tokens == golden.num_tokens[:7].sum()
    assert reply.usage.total_tokens == reply.usage.prompt_tokens


def test_four_input_forms(client, texts, golden, batched):
    ids = golden.token_ids[:3]
    forms = {
        "text": (texts[0], 1),
        "texts": (texts[:3], 3),
        "tokens": (ids[0], 1),
        "token lists": (ids, 3),
    }
    for name, (form, count) in forms.items():
        reply = client.embeddings.create(model=MODEL, input=form, encoding_format="float")
        vectors = np.array([item.embedding for item in reply.data], "<f4")
        assert np.array_equal(vectors, batched[0][:count]), name
        assert reply.usage.prompt_tokens == golden.num_tokens[:count].sum(), name


def test_dimensions(client, texts, batched):
    for dimensions in (1, 128, 384):
        cut, _ = embed(client, texts[:2], dimensions=dimensions)
        expected = batched[0][:2, :dimensions].astype(np.float64)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        assert cut.shape == expected.shape
        assert np.allclose(cut, expected, rtol=0, atol=1e-6), dimensions
    for wrong in (0, -1, 385, 1 << 40):
        with pytest.raises(openai.BadRequestError) as refused:
            client.embeddings.create(model=MODEL, input="a", dimensions=wrong)
        assert refused.value.param == "dimensions"


@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", "text-embedding-3-small", "", "anything/at all"])
def test_any_model_name_is_answered(client, model):
    assert len(client.embeddings.create(model=model, input="a").data) == 1


def test_model_may_be_absent(server):
    reply = httpx2.post(f"{server.url}/v1/embeddings", json={"input": "a"})
    assert reply.status_code == 200
    assert len(reply.json()["data"]) == 1


def test_unknown_fields_are_accepted_and_named(server):
    reply = httpx2.post(f"{server.url}/v1/embeddings", json={"input": "a", "shoe_size": 43})
    assert reply.status_code == 200
    assert "shoe_size" in reply.headers["x-ignored-fields"]


def test_default_route(server):
    default, named = (httpx2.post(server.url + path, json={"input": "a"}) for path in ("/", "/v1/embeddings"))
    assert default.status_code == 200
    assert default.json() == named.json()


def test_user_field_and_other_spellings_of_json(server):
    body = '{ "inp\\u0075t" : "caf\\u00e9" ,\n "user":"u-1", "encoding_format" : "float" }'
    reply = httpx2.post(f"{server.url}/v1/embeddings", content=body,
                       headers={"content-type": "application/json; charset=utf-8"})
    plain = httpx2.post(f"{server.url}/v1/embeddings", json={"input": "café"})
    assert reply.status_code == plain.status_code == 200
    assert reply.json()["data"] == plain.json()["data"]


def test_baseten_performance_client(server, texts, golden):
    client = PerformanceClient(base_url=server.url, api_key="none")
    reply = client.embed(input=texts, model=MODEL)
    assert_golden(reply.numpy(), golden)
    assert [item.index for item in reply.data] == list(range(len(texts)))
    assert reply.usage.prompt_tokens == golden.num_tokens.sum()
