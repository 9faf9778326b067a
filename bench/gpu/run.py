"""Runs every GPU benchmark, ours and the peer's, one after the other, and prints the table of figures and ratios."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROWS = [  # name, shape, least and most tokens, texts, must (x forward alone)
    ("BERT-base, 510 tokens", "bert_base", (510, 510), 2048, 1.05),
    ("BERT-large, 510 tokens", "bert_large", (510, 510), 1024, 1.05),
    ("MiniLM, 126 tokens", "minilm", (126, 126), 16384, 1.1),
    ("MiniLM, 5-510 tokens", "minilm", (5, 510), 8192, 1.3),
]


def lines(command: list[str], out) -> list[dict]:
    done = subprocess.run(command, capture_output=True, text=True)
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for line in found:
        out.write(json.dumps({"command": command, **line}) + "\n")
    out.flush()
    if done.returncode != 0:
        print(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
    return found


def op_rows(bin: Path, out) -> None:
    """The op tests' own benchmark, beside torch."""
    with tempfile.TemporaryDirectory() as folder:
        times = lines([sys.executable, str(HERE / "peer_ops.py")], out)
        (Path(folder) / "times.json").write_text(json.dumps(times[0] if times else {}))
        print("\nops: share of the ceiling measured in the same run; caches may hold what is read", flush=True)
        subprocess.run([str(bin / "test_ops"), "--bench", "cuda_BF16", f"{folder}/times.json"],
                       env={**os.environ, "MILLRACE_TEST_DEVICE": "cuda"})


def small_step_rows(bin: Path, out) -> None:
    """Steps of few tokens, each kernel launched by itself and all of them replayed as a graph."""
    print("\nsteps of few tokens: launched -> replayed")
    for shape in ("minilm", "bert_base"):
        for texts, tokens in ((1, 8), (128, 5), (1, 510), (4, 510)):
            rates = []
            for eager in (["--enforce-eager"], []):
                step = str(texts * tokens)
                found = lines([str(bin / "embed_bench"), str(HERE / "shapes" / shape), "--device", "cuda", "--dtype", "bf16",
                               "--random-weights", "1", "--texts", str(max(128, texts * 64)), "--min-tokens", str(tokens),
                               "--max-tokens", str(tokens), "--max-num-tokens", step if texts > 1 else "512",
                               "--step-tokens", step, "--max-batch-size", str(texts), "--passes", "5", *eager], out)
                rates.append(found[0] if found else {"tokens_per_s": float("nan"), "p50_ms_8_tokens": float("nan")})
            p50 = [f"{found['p50_ms_8_tokens']:.3f}" for found in rates]
            steps = [f"{found['tokens_per_s'] / (texts * tokens):.0f}" for found in rates]
            print(f"| {shape:<9} | {texts:>3} x {tokens:<3} | steps/s {steps[0]:>6} -> {steps[1]:>6} |"
                  f" one text of 8: {p50[0]} -> {p50[1]} ms |", flush=True)


def load_row(bin: Path, peer: list[str], out) -> None:
    """An engine of BERT-large, 670 MB in bf16, from the page cache to the GPU."""
    with tempfile.TemporaryDirectory() as folder:
        lines([*peer, "--shape", str(HERE / "shapes" / "bert_large"), "--save", f"{folder}/checkpoint"], out)
        build = subprocess.run([str(bin / "millrace"), "build", "--model", f"{folder}/checkpoint", "--target", "sm_90a,sm_80",
                                "--output", f"{folder}/engine"], capture_output=True, text=True)
        if build.returncode != 0:
            print(f"the engine was not built:\n{build.stderr[-2000:]}", file=sys.stderr)
            return
        command = [str(bin / "embed_bench"), f"{folder}/engine", "--device", "cuda", "--dtype", "bf16", "--texts", "16",
                   "--passes", "1"]
        times = [found[0] for _ in range(3) if (found := lines(command, out))]
        copy = lines([*peer, "--pinned-copy", str(times[0]["weight_bytes"])], out)[0]["pinned_copy_s"] if times else 0
    if times:
        best = min(times, key=lambda t: t["place_s"])
        print(f"\nloading {best['weight_bytes'] / 1e6:.0f} MB: weights {best['place_s'] * 1e3:.0f} ms = "
              f"{best['place_s'] / copy:.2f} x the pinned copy ({copy * 1e3:.0f} ms; at most 1.5); verifying "
              f"{best['open_s'] * 1e3:.0f} ms, context and kernels {best['device_s'] * 1e3:.0f} ms")


def thread_times(pid: int) -> dict:
    """CPU seconds of a process by the names of its threads."""
    times = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, fields = (task / "comm").read_text().strip(), (task / "stat").read_text().rsplit(")", 1)[1].split()
        times.setdefault(name, []).append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    return times


HTTP = [  # name, clients (each has one thread), flags of each client's bench embed
    ("5 tokens, 128 a request", 6, ["-c", "8", "-i", "128", "-t", "5"]),
    ("5 tokens, one a request", 4, ["-c", "32", "-t", "5"]),
    ("8 tokens, one at a time", 1, ["-c", "1", "-t", "8"]),
]


def http_rows(bin: Path, minilm: str, device: str, peer: list[str], out) -> None:
    """MiniLM through a server, client and server on this machine, beside sentence-transformers in process."""
    with tempfile.TemporaryDirectory() as folder:
        engine = f"{folder}/engine"
        subprocess.run([str(bin / "millrace"), "build", "--model", minilm, "--target", "sm_90a,sm_80", "--output", engine],
                       check=True, capture_output=True)
        server = subprocess.Popen([str(bin / "millrace"), "serve", engine, "--device", device, "--port", "0", "--log-level",
                                   "warn"], stdout=subprocess.PIPE, text=True)
        try:
            url = re.search(r"http://\S+", server.stdout.readline())[0]
            print("\nMiniLM through HTTP, base64 answers")
            for name, clients, flags in HTTP:
                before, begun = thread_times(server.pid), time.time()
                reports = [Path(folder) / f"report{i}.json" for i in range(clients)]
                running = [subprocess.Popen([str(bin / "millrace"), "bench", "embed", url, "-d", "5", "--warmup", "1", *flags,
                                             "--encoding-format", "base64", "--json", str(report)],
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for report in reports]
                if any([client.wait() for client in running]):
                    raise RuntimeError(f"{name}: a client failed")
                after, spent = thread_times(server.pid), time.time() - begun
                busy = ", ".join(f"{len(times)} x {name} {100 * (sum(times) - sum(before[name])) / spent / len(times):.0f} %"
                                 for name, times in sorted(after.items()) if sum(times) - sum(before.get(name, [0])) > 0.05 * spent)
                figures = [json.loads(report.read_text()) for report in reports]
                for found in figures:
                    out.write(json.dumps({"command": ["bench embed", *flags], **found}) + "\n")
                rate = sum(found["goodput"]["inputs_per_s"] for found in figures)
                p50 = sorted(found["latency_ms"]["p50"] for found in figures)[clients // 2]
                print(f"| {name:<24} | {rate:>10.0f} texts/s | p50 {p50:.2f} ms | server's threads: {busy} |", flush=True)
        finally:
            server.terminate()
            server.wait()
    if device == "cuda":
        for found in lines([*peer, "--encode", minilm], out):
            print(f"| {'encode, in process':<24} | {found['texts_per_s']:>10.0f} texts/s |")


def decoder_rows(bin: Path, out) -> None:
    """Llama-3.1-8B's shape in bf16, without a server: decode at a context of 1,024, prefill of 8,192, the first token of 512."""
    report = subprocess.run([str(bin / "millrace"), "bench", "model", str(HERE.parent / "decoder" / "shapes" / "llama3_8b"), "--random-weights", "1",
                             "--device", "cuda", "--dtype", "bf16", "--prompts", "512,8192", "--batch-sizes", "1,8,64,256", "--contexts", "1024"], capture_output=True, text=True)
    print(f"\n{report.stdout if report.returncode == 0 else report.stderr[-2000:]}", flush=True)
    out.write(json.dumps({"bench_model": report.stdout}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--step-tokens", type=int, default=16384)
    parser.add_argument("--only", default="")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--no-load", action="store_true")
    parser.add_argument("--no-ops", action="store_true")
    a = parser.parse_args()
    with a.out.open("w") as out:
        peer = [sys.executable, str(HERE / "peer_torch.py")]
        ceiling = (lines([*peer, "--ceilings"], out) or [{"bf16_tflops": float("nan")}])[0]
        print(json.dumps(ceiling))
        print(f"| {'workload':<24} | {'millrace tok/s':>14} | {'% of products':>13} | {'forward alone':>13} | ratio | must |"
              f" 8 tokens p50 |\n|{'-' * 26}|{'-' * 15}:|{'-' * 14}:|{'-' * 14}:|------:|-----:|-------------:|")
        for name, shape, tokens, texts, must in ROWS:
            if a.only and a.only not in name:
                continue
            folder = HERE / "shapes" / shape
            ours = lines([str(a.bin / "embed_bench"), str(folder), "--device", "cuda", "--dtype", "bf16",
                          "--random-weights", "1", "--texts", str(texts), "--min-tokens", str(tokens[0]),
                          "--max-tokens", str(tokens[1]), "--max-num-tokens", str(a.step_tokens),
                          "--max-batch-size", "2048"], out)
            peers = lines([*peer, "--shape", str(folder), "--tokens", *map(str, tokens)], out)
            if not a.no_compile:
                peers += lines([*peer, "--shape", str(folder), "--tokens", *map(str, tokens), "--compile",
                                "--batch-sizes", "64", "256"], out)
            if not ours or not peers:
                print(f"| {name:<24} | failed |")
                continue
            rate, best = ours[0]["tokens_per_s"], max(p["tokens_per_s"] for p in peers)
            share = 100 * rate * ours[0]["flops_per_token"] / (ceiling["bf16_tflops"] * 1e12)
            print(f"| {name:<24} | {rate / 1e6:>12.2f} M | {share:>12.0f}% | {best / 1e6:>11.2f} M | {rate / best:>5.2f} |"
                  f" {must:>4} | {ours[0]['p50_ms_8_tokens']:>9.3f} ms |", flush=True)
        attention = (lines([*peer, "--attention", "12", "64", "512"], out) or [{}])[0]
        print("\nattention of the peer, 12 heads of 64, 512 tokens: " +
              ", ".join(f"{name} {value:.0f}" for name, value in attention.items()))
        decoder_rows(a.bin, out)
        small_step_rows(a.bin, out)
        if not a.no_ops:
            op_rows(a.bin, out)
        if minilm := os.environ.get("MILLRACE_MINILM_DIR"):
            http_rows(a.bin, minilm, "cuda", peer, out)
        if not a.no_load:
            load_row(a.bin, peer, out)


if __name__ == "__main__":
    main()
