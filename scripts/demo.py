"""From checkpoints to answered requests: an embedder beside sentence-transformers, then a chat that streams."""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from openai import OpenAI
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from harness import CONFIG, GOLDEN, Server, build_engine, golden_texts, run_build  # noqa: E402

DEMO_MODEL = ROOT / "examples" / "demo-model"

SENTENCES = [  # of tests/golden/texts.json, whose sentence-transformers vectors are stored
    "How do I reset my password?",
    "Please restart the router and wait for the green light.",
    "A cat sleeps on the warm hood of the car.",
    "The kitten is napping on top of the engine cover.",
    "Interest rates rose by a quarter of a point on Tuesday.",
    "Quarterly revenue grew, but margins shrank.",
]
MIN_COSINE = 0.99999
QUESTION = "Extract name, age and city as JSON: John Smith, 42 years old, lives in London."
ANSWER = {"name": "John Smith", "age": 42, "city": "London"}  # greedy, as transformers gives it


def cosine(a, b):
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def embed():
    texts = golden_texts()
    stored = load_file(GOLDEN / "minilm" / "expected.safetensors")["embeddings"].astype(np.float64)

    with tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder:
        engine = Path(folder) / "minilm"
        print(f"$ millrace build --config {CONFIG.relative_to(ROOT)} --output {engine}")
        start = time.perf_counter()
        print(build_engine(engine).rstrip())
        print(f"  ({time.perf_counter() - start:.1f} s)\n")

        print(f"$ millrace serve {engine} --port 0")
        start = time.perf_counter()
        with Server(engine) as server:
            print(server.log().rstrip())
            print(f"  ({time.perf_counter() - start:.1f} s)\n")
            client = OpenAI(base_url=f"{server.url}/v1", api_key="none")
            reply = client.embeddings.create(model="all-MiniLM-L6-v2", input=SENTENCES)
            vectors = [np.array(item.embedding, dtype=np.float64) for item in reply.data]
            status = server.stop()

    print(f"OpenAI client: {len(vectors)} vectors of {len(vectors[0])}, {reply.usage.prompt_tokens} tokens\n")
    print("similarity     " + "".join(f"   [{j}]" for j in range(len(SENTENCES))))
    for i, a in enumerate(vectors):
        print(f"  [{i}] " + " " * 9 + "".join(f"{cosine(a, b):6.2f}" for b in vectors) + f"   {SENTENCES[i]}")

    print("\nagreement with sentence-transformers (stored vectors)")
    print(f"  {'':4} {'cosine':>10}  {'relative error':>14}")
    worst = 1.0
    for i, (vector, sentence) in enumerate(zip(vectors, SENTENCES)):
        reference = stored[texts.index(sentence)]
        agreement = cosine(vector, reference)
        error = np.linalg.norm(vector - reference) / np.linalg.norm(reference)
        worst = min(worst, agreement)
        print(f"  [{i}]  {agreement:10.8f}  {error:14.1e}")

    if status != 0:
        sys.exit(f"\nthe server ended with status {status}")
    if not worst >= MIN_COSINE:
        sys.exit(f"\nthe lowest cosine is {worst:.8f}, below {MIN_COSINE}")


def chat():
    with tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder:
        engine = Path(folder) / "demo-model"
        print(f"\n$ millrace build --model {DEMO_MODEL.relative_to(ROOT)} --output {engine}")
        print(run_build("--model", DEMO_MODEL, "--output", engine).rstrip())
        print(f"\n$ millrace serve {engine} --port 0")
        with Server(engine) as server:
            print(server.log().rstrip())
            client = OpenAI(base_url=f"{server.url}/v1", api_key="none")
            print(f"\nOpenAI client, streaming\n  user: {QUESTION}\n  assistant: ", end="", flush=True)
            begin, first, text, usage = time.perf_counter(), None, "", None
            for chunk in client.chat.completions.create(
                    model="demo-model", messages=[{"role": "user", "content": QUESTION}], temperature=0, stream=True,
                    stream_options={"include_usage": True}, extra_body={"chat_template_kwargs": {"enable_thinking": False}}):
                usage = chunk.usage or usage
                if chunk.choices and (piece := chunk.choices[0].delta.content):
                    first = first or time.perf_counter()
                    text += piece
                    print(piece, end="", flush=True)
            seconds = time.perf_counter() - begin
            print(f"\n  ({usage.prompt_tokens} tokens in, {usage.completion_tokens} out in {seconds * 1e3:.0f} ms, "
                  f"the first after {(first - begin) * 1e3:.0f} ms)")
            status = server.stop()
    if status != 0:
        sys.exit(f"\nthe server ended with status {status}")
    if json.loads(text) != ANSWER:
        sys.exit(f"\nthe answer is not {ANSWER}")


def main():
    embed()
    chat()
    print("\nBoth servers drained and ended on SIGTERM. All is well.")


if __name__ == "__main__":
    main()
