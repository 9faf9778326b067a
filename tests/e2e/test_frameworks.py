"""LangChain's and LlamaIndex's own classes, unmodified, against our routes."""

import asyncio
import json

import harness
import numpy as np
import pytest
import tiktoken
from langchain_openai import OpenAIEmbeddings
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference as TeiRerank
from safetensors.numpy import load_file

MODEL = "all-MiniLM-L6-v2"
BATCH = 100  # LangChain's own is 1,000; the server's limit is 128


def assert_golden(vectors, golden):
    errors = np.linalg.norm(np.array(vectors) - golden.embeddings, axis=1)
    assert errors.max() <= 1e-4, f"text {errors.argmax()}: relative error {errors.max()}"


def langchain(server, **options):
    return OpenAIEmbeddings(base_url=f"{server.url}/v1", api_key="none", model=MODEL, chunk_size=BATCH,
                            max_retries=0, **options)


def test_langchain_openai(server, texts, golden):
    embeddings = langchain(server, check_embedding_ctx_length=False)
    vectors = embeddings.embed_documents(texts)
    assert_golden(vectors, golden)
    assert embeddings.embed_query(texts[0]) == vectors[0]
    assert asyncio.run(embeddings.aembed_documents(texts[:7])) == vectors[:7]


class WordPieceIds:
    """Stands for an encoding of tiktoken's, so that LangChain's token arrays fit this model."""

    def __init__(self, texts, token_ids):
        self.ids = dict(zip(texts, token_ids))

    def encode_ordinary(self, text):
        return self.ids[text]


def test_langchain_openai_sends_token_arrays_by_default(server, texts, golden, monkeypatch):
    chosen = [i for i in range(len(texts)) if not golden.truncated[i]][:50]
    encoding = WordPieceIds(texts, golden.token_ids)
    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda _: encoding)
    vectors = langchain(server).embed_documents([texts[i] for i in chosen])
    errors = np.linalg.norm(np.array(vectors) - golden.embeddings[chosen], axis=1)
    assert errors.max() <= 1e-4


def test_llamaindex_openai(server, texts, golden):
    embeddings = OpenAIEmbedding(api_base=f"{server.url}/v1", api_key="none", model_name=MODEL,
                                 embed_batch_size=BATCH, max_retries=0)
    vectors = embeddings.get_text_embedding_batch(texts)
    assert_golden(vectors, golden)
    assert embeddings.get_query_embedding(texts[0]) == vectors[0]


def test_llamaindex_text_embeddings_inference(server, texts, golden):
    embeddings = TextEmbeddingsInference(base_url=server.url, model_name=MODEL, embed_batch_size=BATCH)
    vectors = embeddings.get_text_embedding_batch(texts)
    assert_golden(vectors, golden)
    assert embeddings.get_query_embedding(texts[0]) == vectors[0]
    assert asyncio.run(embeddings.aget_text_embedding_batch(texts[:7])) == vectors[:7]


@pytest.fixture(scope="module")
def reranker():
    with harness.Server(harness.GOLDEN / "bert_rerank") as server:
        yield server


def test_llamaindex_tei_rerank(reranker):
    golden = harness.GOLDEN / "bert_rerank"
    pairs = json.loads((golden / "texts.json").read_text())
    logits = load_file(golden / "expected.safetensors")["logits"][:, 0].astype(np.float64)
    index = 5
    query, text = pairs[index]
    nodes = [NodeWithScore(node=TextNode(text=t)) for t in (text, "la", "re re re")]
    ranked = TeiRerank(base_url=reranker.url, top_n=3).postprocess_nodes(nodes, query_str=query)
    assert len(ranked) == 3
    scores = [node.score for node in ranked]
    assert scores == sorted(scores, reverse=True)
    found = next(node.score for node in ranked if node.node.get_content() == text)
    assert abs(found - 1 / (1 + np.exp(-logits[index]))) <= 1e-4
