"""`millrace bench` against servers that are not Millrace: what it says, and its exit status."""

import contextlib
import http.server
import itertools
import json
import subprocess
import threading

import harness
import pytest


@contextlib.contextmanager
def stub(answer, content_type="application/json"):
    """A server whose `answer(path, body)` gives (status, bytes)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, reply = answer(self.path, body)
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def bench(url, *flags, requests=20):
    command = [harness.BINARY, "bench", "embed", url, "-c", 2, "--warmup", 0, "-n", requests, *flags]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def embeddings(path, body):
    if path.endswith("/models"):
        return 200, json.dumps({"data": [{"id": "stub-model"}]}).encode()
    count = len(json.loads(body)["input"])
    data = [{"index": i, "embedding": [0.5]} for i in range(count)]
    return 200, json.dumps({"data": data, "usage": {"prompt_tokens": 5 * count}}).encode()


def test_report_of_a_foreign_server(tmp_path):
    with stub(embeddings) as url:
        run = bench(f"{url}/v1", "-i", 3, "--json", tmp_path / "report.json", "--check", "--seed", 7)
    assert run.returncode == 0, run.stderr
    assert "model stub-model" in run.stdout and "seed 7" in run.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["url"] == f"{url}/v1/embeddings"
    assert report["statuses"] == {"200": 20}
    goodput = report["goodput"]
    assert goodput["inputs_per_s"] == pytest.approx(3 * goodput["requests_per_s"])
    assert goodput["tokens_per_s"] == pytest.approx(15 * goodput["requests_per_s"])
    check = report["check"]
    assert check.pop("compared") >= 8
    assert check == {"probes": 8, "different": 0, "missing": 0}


def test_unexpected_statuses_fail_the_run():
    with stub(lambda path, body: (500, b"{}")) as url:
        assert bench(url).returncode == 1
        assert "20 answers had the unexpected status 500" in bench(url).stderr
        assert bench(url, "--expect-status", "200,500").returncode == 0


def test_answers_that_change_fail_the_run():
    number = itertools.count()
    with stub(lambda path, body: (200, json.dumps({"data": [next(number)]}).encode())) as url:
        run = bench(url, "--check")
    assert run.returncode == 1
    assert "repeated answers differ from the first" in run.stderr


def test_nobody_listens():
    run = bench("http://127.0.0.1:1")
    assert run.returncode == 1
    assert "is the server running?" in run.stderr


@pytest.mark.parametrize("flags", [
    ("https://h",), ("h:80",), ("http://h", "--tokens", "x"), ("http://h", "--route", "/v1/chat/completions"),
    ("http://h", "--rate", 5, "--concurrency", 5), ("http://h", "--abort-fraction", 2),
    ("http://h", "--arrival", "constant"), ("http://h", "--max-outstanding", 3)])
def test_wrong_flags_say_so(flags):
    command = [harness.BINARY, "bench", "embed", *flags]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert run.stderr


def chat_stream(path, body):
    if path.endswith("/models"):
        return 200, json.dumps({"data": [{"id": "stub-model"}]}).encode()
    asked = json.loads(body)
    assert asked["ignore_eos"] and asked["stream"] and asked["stream_options"]["include_usage"]
    usage = {"prompt_tokens": 20, "completion_tokens": asked["max_tokens"]}
    pieces = [{"choices": [{"index": 0, "delta": {"content": "a b"}}]}] * 3 + [{"choices": [], "usage": usage}]
    return 200, "".join(f"data: {json.dumps(p)}\n\n" for p in pieces).encode() + b"data: [DONE]\n\n"


def bench_serve(url, *flags):
    command = [harness.BINARY, "bench", "serve", url, "-c", 2, "--warmup", 0, "-n", 10, *flags]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def test_generation_report_of_a_foreign_server(tmp_path):
    with stub(chat_stream, content_type="text/event-stream") as url:
        run = bench_serve(f"{url}/v1", "-i", "5-9", "-o", 6, "--json", tmp_path / "report.json", "--goodput", "ttft:60000")
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["url"].endswith("/v1/chat/completions") and report["model"] == "stub-model"
    assert report["statuses"] == {"200": 10} and report["failures"] == {}
    assert report["completed"] == report["good_requests"] == report["ttft_ms"]["count"] == 10
    assert (report["input_tokens"], report["output_tokens"]) == (200, 60)
    assert "held ttft 60000 ms" in run.stdout


def test_generation_report_of_millrace(demo_server, tmp_path):
    for route in ("/v1/chat/completions", "/v1/completions"):
        run = bench_serve(demo_server.url, "--route", route, "-i", 30, "-o", 12, "--json", tmp_path / "report.json")
        assert run.returncode == 0, run.stderr
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["model"] == "demo-model" and report["statuses"] == {"200": 10} and report["failures"] == {}
        assert report["output_tokens"] == 120 and report["input_tokens"] > 0
        assert report["ttft_ms"]["count"] == 10 and report["ttft_ms"]["p50"] > 0


def test_generation_that_fails_is_told():
    def answer(path, body):
        if path.endswith("/models"):
            return chat_stream(path, body)
        return 400, b'{"error": {"message": "ignore_eos is not known"}}'

    with stub(answer) as url:
        run = bench_serve(url)
        assert run.returncode == 1
        assert "10 answers had the unexpected status 400" in run.stderr
        assert "ignore_eos is not known" in run.stdout
        assert bench_serve(url, "--goodput", "fast").returncode == 2
