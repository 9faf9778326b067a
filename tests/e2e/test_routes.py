"""The routes beside embeddings: models, health, info and metrics."""

import re

import httpx2
import openai
import pytest


def test_models(client):
    models = list(client.models.list())
    assert len(models) == 1
    model = models[0]
    assert model.object == "model"
    assert isinstance(model.created, int)
    assert model.owned_by
    assert model.max_model_len == 256
    same = client.models.retrieve(model.id)
    assert same == model
    assert client.embeddings.create(model=model.id, input="a").model == model.id
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


@pytest.mark.parametrize("path", ["/health", "/live", "/ready"])
def test_probes(server, path):
    assert httpx2.get(server.url + path).status_code == 200


def test_info(server):
    reply = httpx2.get(f"{server.url}/info")
    assert reply.status_code == 200
    info = reply.json()
    assert isinstance(info, dict)
    assert "256" in reply.text  # the input limit
    assert info.get("version")


def sample(text, name):
    """The sum over all label sets of one metric in Prometheus' text format."""
    values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    assert values, f"{name} is not exported"
    return sum(map(float, values))


def test_metrics_count_requests(server):
    before = httpx2.get(f"{server.url}/metrics")
    assert before.status_code == 200
    assert before.headers["content-type"].startswith("text/plain")
    names = set(re.findall(r"^(millrace_\w+_total)\b", before.text, re.MULTILINE))
    assert names
    for _ in range(3):
        assert httpx2.post(f"{server.url}/v1/embeddings", json={"input": "a"}).status_code == 200
    after = httpx2.get(f"{server.url}/metrics").text
    grown = {name for name in names if sample(after, name) >= sample(before.text, name) + 3}
    assert any("request" in name for name in grown), sorted(names)
    assert any("token" in name for name in grown), sorted(names)
