"""Reloads every fixture as a user would, in fp32, and prints the largest error of a vector.

    python tests/golden/verify.py [MINILM_DIR]

An error is ||out - expected|| / ||expected||; the bound is 1e-5. Embedders go through
SentenceTransformer.encode on the texts themselves, in batches with padding; classifiers through
CrossEncoder or the sequence classification class.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

HERE = Path(__file__).parent
F32 = {"dtype": torch.float32}


def error(out: np.ndarray, expected: np.ndarray) -> float:
    norm = np.linalg.norm(expected.astype(np.float64), axis=1)
    return float((np.linalg.norm(out - expected.astype(np.float64), axis=1) / norm).max())


def check(name: str, what: str, out: np.ndarray, expected: np.ndarray) -> bool:
    worst = error(out, expected)
    print(f"{name:14} {what:34} {out.shape!s:12} worst {worst:.1e}")
    return worst <= 1e-5


def check_checkpoint(path: Path) -> bool:
    want = load_file(path / "expected.safetensors")
    texts = json.loads((path / "texts.json").read_text())
    classifier = "logits" in want
    kind = AutoModelForSequenceClassification if classifier else AutoModel
    model = kind.from_pretrained(path, **F32).eval()
    hidden, logits = [], []
    cu = want["cu_seqlens"]
    with torch.no_grad():
        for a, b in zip(cu[:-1], cu[1:]):
            ids, types = (torch.from_numpy(want[k][a:b].astype(np.int64))[None]
                          for k in ("token_ids", "token_type_ids"))
            args = dict(input_ids=ids, token_type_ids=types)
            encoder = model.bert if classifier else model
            hidden.append(encoder(**args).last_hidden_state[0].numpy())
            if classifier:
                logits.append(model(**args).logits[0].numpy())
    ok = check(path.name, "hidden, AutoModel", np.concatenate(hidden), want["hidden"])
    if not classifier:
        embedder = SentenceTransformer(str(path), device="cpu", model_kwargs=F32)
        out = embedder.encode(texts, batch_size=8)
        return check(path.name, "pooled, SentenceTransformer", out, want["pooled"][:-1]) and ok
    ok &= check(path.name, "logits, AutoModel", np.stack(logits), want["logits"])
    pairs = [i for i, text in enumerate(texts) if isinstance(text, list)]
    ranker = CrossEncoder(str(path), device="cpu", model_kwargs=F32)
    out = ranker.predict([texts[i] for i in pairs], batch_size=8,
                         activation_fn=torch.nn.Identity()).reshape(len(pairs), -1)
    return check(path.name, "logits, CrossEncoder on the pairs", out, want["logits"][pairs]) and ok


def check_minilm(model_dir: str) -> bool:
    """The fp32 embeddings against fp64 on the stored ids, and against a padded fp32 run."""
    want = load_file(HERE / "minilm" / "expected.safetensors")
    texts = json.loads((HERE / "texts.json").read_text())
    embedder = SentenceTransformer(model_dir, device="cpu", model_kwargs=F32)
    ok = check("minilm", "encode, batches of 32", embedder.encode(texts), want["embeddings"])
    model = AutoModel.from_pretrained(model_dir, dtype=torch.float64, attn_implementation="eager")
    rows, cu = [], want["cu_seqlens"]
    with torch.no_grad():
        for a, b in zip(cu[:-1], cu[1:]):
            ids = torch.from_numpy(want["token_ids"][a:b].astype(np.int64))[None]
            row = model(input_ids=ids).last_hidden_state[0].mean(0)
            rows.append((row / row.norm()).numpy())
    return check("minilm", "fp64 on the stored ids", np.stack(rows), want["embeddings"]) and ok


if __name__ == "__main__":
    torch.set_num_threads(2)
    transformers.utils.logging.set_verbosity_error()
    results = [check_checkpoint(path) for path in sorted(HERE.glob("bert_*/"))]
    results += [check_minilm(path) for path in sys.argv[1:2]]
    sys.exit(0 if all(results) else 1)
