"""The peer of the GPU benchmarks: transformers' forward alone and sentence-transformers' way, in bf16, and the
ceilings of this GPU, measured in the same run. Prints one JSON line per figure.

    python3 bench/gpu/peer_torch.py --shape bench/gpu/shapes/bert_base --tokens 510
"""

import argparse
import json
import statistics
import time

import torch
from transformers import BertConfig, BertModel


def timed(run, seconds: float = 1.0) -> float:
    """Median seconds of a run, after warm-up, by events."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times, begun = [], time.time()
    while time.time() - begun < seconds or len(times) < 5:
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        run()
        b.record()
        b.synchronize()
        times.append(a.elapsed_time(b) / 1e3)
    return statistics.median(times)


def ceilings() -> dict:
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    product = timed(lambda: a @ b)
    x = torch.randn(1 << 30, device="cuda", dtype=torch.bfloat16)
    y = torch.empty_like(x)
    copy = timed(lambda: y.copy_(x))
    return {"gpu": torch.cuda.get_device_name(), "bf16_tflops": 2 * 8192**3 / product / 1e12,
            "copy_gb_per_s": 2 * x.numel() * 2 / copy / 1e9}


def forward_alone(shape: str, lengths: list[int], batch_sizes: list[int], compiled: bool) -> dict:
    """Tokens per second of the best batch size; rows are padded to the longest, ids lie on the GPU."""
    config = BertConfig.from_pretrained(shape)
    model = BertModel(config, add_pooling_layer=False).to("cuda", torch.bfloat16).eval()
    run_model = torch.compile(model, dynamic=False) if compiled else model
    equal = len(set(lengths)) == 1
    best = {"tokens_per_s": 0.0}
    for batch_size in batch_sizes:
        chosen = lengths[:batch_size]
        if len(chosen) < batch_size:
            continue
        longest = max(chosen)
        ids = torch.randint(1000, config.vocab_size, (batch_size, longest), device="cuda")
        mask = None
        if not equal:
            at = torch.arange(longest, device="cuda")
            mask = (at[None] < torch.tensor(chosen, device="cuda")[:, None]).long()
        with torch.inference_mode():
            seconds = timed(lambda: run_model(input_ids=ids, attention_mask=mask), 0.6)
        rate = sum(chosen) / seconds
        if rate > best["tokens_per_s"]:
            best = {"tokens_per_s": rate, "batch_size": batch_size, "ms": seconds * 1e3}
    return best


def attention(heads: int, head_dim: int, tokens: int, total: int) -> dict:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    q, k, v = (torch.randn(total // tokens, heads, tokens, head_dim, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    flops = 4 * total * tokens * heads * head_dim
    out = {}
    for name, backend in (("cudnn", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
        with sdpa_kernel(backend):
            out[name + "_tflops"] = flops / timed(
                lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v), 0.4) / 1e12
    return out


def encode(folder: str) -> dict:
    """Texts of five tokens through sentence-transformers, tokenizer included, at its best batch size."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cuda", model_kwargs={"torch_dtype": torch.bfloat16})
    words = "water stone light river house table letter paper winter bread door window".split()
    texts = [f"{words[i % 12]} {words[i // 12 % 12]} {words[i // 144 % 12]}" for i in range(16384)]
    best = {"texts_per_s": 0.0}
    for batch_size in (128, 512, 2048):
        model.encode(texts[:batch_size], batch_size=batch_size)
        begun = time.time()
        model.encode(texts, batch_size=batch_size)
        best = max(best, {"texts_per_s": len(texts) / (time.time() - begun), "batch_size": batch_size},
                   key=lambda found: found["texts_per_s"])
    return {"peer": "sentence-transformers", **best}


def pinned_copy(size: int) -> dict:
    """Seconds that so many bytes take from pinned memory to the GPU."""
    host = torch.empty(size, dtype=torch.uint8).pin_memory()
    device = torch.empty(size, dtype=torch.uint8, device="cuda")
    return {"pinned_copy_s": timed(lambda: device.copy_(host, non_blocking=True), 0.5), "bytes": size}


def save(shape: str, folder: str) -> None:
    """A checkpoint of this shape in bf16, with the tokenizer that a checkpoint must have."""
    from tokenizers import Tokenizer, models

    torch.manual_seed(1)
    BertModel(BertConfig.from_pretrained(shape)).to(torch.bfloat16).save_pretrained(folder)
    Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, unk_token="[UNK]")).save(folder + "/tokenizer.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", help="directory of a config.json")
    parser.add_argument("--tokens", type=int, nargs=2, default=[510, 510], help="least and most")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 64, 128, 256, 512])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--attention", type=int, nargs=3, metavar=("HEADS", "HEAD_DIM", "TOKENS"))
    parser.add_argument("--ceilings", action="store_true")
    parser.add_argument("--encode", metavar="FOLDER", help="a sentence-transformers model")
    parser.add_argument("--pinned-copy", type=int, metavar="BYTES")
    parser.add_argument("--save", metavar="FOLDER", help="write a checkpoint of --shape and end")
    a = parser.parse_args()
    if a.save:
        save(a.shape, a.save)
        return
    if a.encode:
        print(json.dumps(encode(a.encode)), flush=True)
    if a.pinned_copy:
        print(json.dumps(pinned_copy(a.pinned_copy)), flush=True)
    if a.ceilings:
        print(json.dumps(ceilings()), flush=True)
    if a.attention:
        print(json.dumps(attention(*a.attention, total=65536)), flush=True)
    if a.shape:
        generator = torch.Generator().manual_seed(1)
        low, high = a.tokens
        lengths = torch.randint(low, high + 1, (max(a.batch_sizes),), generator=generator).tolist()
        print(json.dumps({"peer": "transformers", "compiled": a.compile,
                          **forward_alone(a.shape, lengths, a.batch_sizes, a.compile)}), flush=True)


if __name__ == "__main__":
    main()
