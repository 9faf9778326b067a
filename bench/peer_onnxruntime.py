"""Measures onnxruntime on the CPU as an embedder: one JSON line of tokens/s and latency.

    python bench/peer_onnxruntime.py --threads 2 --inputs ids.json --model OUT_DIR/attention.onnx \\
        --model OUT_DIR/mha.onnx

ids.json is a list of lists of token ids; the models come from bench/export_onnx.py. Needs only
onnxruntime and numpy. The peer is given its best: texts sorted by length so that little is padded,
every model and batch size tried twice over a quarter of the inputs, the fastest pair then timed
`--passes` times over all, and the fastest model taken for one text alone. Tokens are the real ones; padding is work but not output. Building the padded arrays
counts, as a server has to do it too; tokenization does not.
"""

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime

BATCH_SIZES = (1, 2, 4, 8, 16, 32)


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def embed(session: onnxruntime.InferenceSession, rows: list) -> np.ndarray:
    """One padded batch; float32 [len(rows), hidden]."""
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return session.run(["embeddings"], feed)[0]


def run_pass(session: onnxruntime.InferenceSession, rows: list, batch: int) -> float:
    """Seconds for all rows, longest first."""
    begin = time.perf_counter()
    for i in range(0, len(rows), batch):
        embed(session, rows[i : i + batch])
    return time.perf_counter() - begin


def median_latency(session: onnxruntime.InferenceSession, row: list, runs: int = 300) -> float:
    """Milliseconds of a batch of one."""
    times = []
    for _ in range(runs + 20):
        begin = time.perf_counter()
        embed(session, [row])
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times[20:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inputs", type=Path, required=True, help="JSON list of token id lists")
    parser.add_argument("--model", type=Path, action="append", required=True, help="repeatable")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=BATCH_SIZES)
    parser.add_argument("--passes", type=int, default=5)
    args = parser.parse_args()

    rows = sorted(json.loads(args.inputs.read_text()), key=len, reverse=True)
    num_tokens = sum(map(len, rows))
    sessions = {path.stem: open_session(path, args.threads) for path in args.model}
    sample = rows[::4]
    sample_tokens = sum(map(len, sample))
    trials = {}
    for session in sessions.values():
        run_pass(session, sample, args.batch_sizes[-1])  # warm up: arena, packed weights
    for name, batch in 2 * list(itertools.product(sessions, args.batch_sizes)):
        seconds = run_pass(sessions[name], sample, batch)
        trials[name, batch] = min(seconds, trials.get((name, batch), seconds))
    name, batch = min(trials, key=trials.get)
    times = [run_pass(sessions[name], rows, batch) for _ in range(args.passes)]

    short = [101, 2023, 2003, 1037, 2460, 3231, 6251, 102]  # 8 tokens
    latency = {name: median_latency(session, short) for name, session in sessions.items()}
    rates = {f"{n}/{b}": round(sample_tokens / t, 1) for (n, b), t in trials.items()}
    print(json.dumps({
        "peer": "onnxruntime",
        "version": onnxruntime.__version__,
        "threads": args.threads,
        "tokens_per_s": round(num_tokens / statistics.median(times), 1),
        "best_batch": batch,
        "best_model": name,
        "p50_ms_8_tokens": round(min(latency.values()), 3),
        "num_texts": len(rows),
        "num_tokens": num_tokens,
        "trials_tokens_per_s": rates,
    }))


if __name__ == "__main__":
    main()
