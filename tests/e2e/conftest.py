"""One engine and one server for the whole session; tests that stop a server start their own."""

import sys
from pathlib import Path

import numpy as np
import pytest
from openai import OpenAI
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
import harness  # noqa: E402


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    path = tmp_path_factory.mktemp("engines") / "minilm"
    harness.build_engine(path)
    return path


@pytest.fixture(scope="session")
def server(engine):
    with harness.Server(engine) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    return OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def demo_server():
    """The language model that ships with Millrace, served straight from its checkpoint."""
    with harness.Server(harness.ROOT / "examples" / "demo-model") as running:
        yield running


@pytest.fixture(scope="session")
def demo_client(demo_server):
    return OpenAI(base_url=f"{demo_server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def texts():
    return harness.golden_texts()


class Golden:
    """What sentence-transformers gives for the 200 texts."""

    def __init__(self):
        stored = load_file(harness.GOLDEN / "minilm" / "expected.safetensors")
        self.embeddings = stored["embeddings"].astype(np.float64)
        ends = stored["cu_seqlens"]
        self.token_ids = [stored["token_ids"][a:b].tolist() for a, b in zip(ends, ends[1:])]
        self.num_tokens = np.diff(ends)
        self.truncated = stored["num_tokens_untruncated"] > self.num_tokens


@pytest.fixture(scope="session")
def golden():
    return Golden()
