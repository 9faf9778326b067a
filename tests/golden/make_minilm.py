"""Writes minilm/expected.safetensors: what sentence-transformers says of texts.json.

    python tests/golden/make_minilm.py MODEL_DIR

MODEL_DIR is a local copy of all-MiniLM-L6-v2. Everything runs in fp32 on the CPU, one text at a
time, so that no padding takes part. The limit of 256 tokens is the model's own (in
sentence_bert_config.json; the truncation and the padding written in tokenizer.json do not count).
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

HERE = Path(__file__).parent


def main() -> None:
    torch.set_num_threads(2)
    model_dir = Path(sys.argv[1])
    texts = json.loads((HERE / "texts.json").read_text())
    model = SentenceTransformer(str(model_dir), device="cpu", model_kwargs={"dtype": torch.float32})
    model.eval()
    assert model.max_seq_length == 256

    embeddings = model.encode(texts, batch_size=1, convert_to_numpy=True)
    ids = [model.preprocess([text])["input_ids"][0].numpy() for text in texts]

    raw = Tokenizer.from_file(str(model_dir / "tokenizer.json"))  # the file, with limits removed
    raw.no_truncation()
    raw.no_padding()
    full = [raw.encode(text).ids for text in texts]
    for cut, whole in zip(ids, full):  # truncation keeps the head and the final [SEP]
        assert list(cut) == (whole if len(whole) <= 256 else whole[:255] + whole[-1:])

    out = HERE / "minilm" / "expected.safetensors"
    out.parent.mkdir(exist_ok=True)
    save_file(
        {
            "embeddings": embeddings.astype(np.float32),
            "token_ids": np.concatenate(ids).astype(np.int32),
            "cu_seqlens": np.cumsum([0] + [len(x) for x in ids]).astype(np.int32),
            "num_tokens_untruncated": np.array([len(x) for x in full], np.int32),
        },
        out,
        metadata={"model": "sentence-transformers/all-MiniLM-L6-v2"},  # one key: its order is fixed
    )


if __name__ == "__main__":
    main()
