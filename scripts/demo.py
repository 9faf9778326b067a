"""From config.yaml to answered requests: build an engine, serve it, compare with sentence-transformers."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from openai import OpenAI
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from harness import CONFIG, GOLDEN, Server, build_engine, golden_texts  # noqa: E402

SENTENCES = [  # of tests/golden/texts.json, whose sentence-transformers vectors are stored
    "How do I reset my password?",
    "Please restart the router and wait for the green light.",
    "A cat sleeps on the warm hood of the car.",
    "The kitten is napping on top of the engine cover.",
    "Interest rates rose by a quarter of a point on Tuesday.",
    "Quarterly revenue grew, but margins shrank.",
]
MIN_COSINE = 0.99999


def cosine(a, b):
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def main():
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
    print("\nThe server drained and ended on SIGTERM. All is well.")


if __name__ == "__main__":
    main()
