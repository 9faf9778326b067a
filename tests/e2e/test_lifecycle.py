"""From start to SIGTERM: one ready line, drained work, honest exit statuses."""

import concurrent.futures
import subprocess
import time

import harness
import httpx2
import pytest


def test_builds_are_byte_identical(engine, tmp_path):
    again = tmp_path / "elsewhere" / "engine"
    again.parent.mkdir()
    harness.build_engine(again)
    names = sorted(path.relative_to(engine) for path in engine.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in names:
        assert (engine / name).read_bytes() == (again / name).read_bytes(), name


def test_one_ready_line_then_healthy(engine):
    with harness.Server(engine) as server:
        assert httpx2.get(f"{server.url}/health").status_code == 200
        ready = [line for line in server.lines if harness.READY.search(line)]
        assert len(ready) == 1, server.log()
    assert server.process.returncode == 0


@harness.needs_slow_steps
def test_sigterm_drains_requests_in_flight(engine):
    server = harness.Server(engine)
    inputs = ["word " * 300] * 64  # seconds of work

    def post():
        return httpx2.post(f"{server.url}/v1/embeddings", json={"input": inputs}, timeout=120)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        replies = [pool.submit(post) for _ in range(2)]
        time.sleep(0.5)  # both are read by now, and not done
        assert not any(reply.done() for reply in replies)
        server.terminate()
        assert [reply.result().status_code for reply in replies] == [200, 200]
    assert server.process.wait(60) == 0


@harness.needs_slow_steps
def test_second_sigterm_ends_at_once(engine):
    server = harness.Server(engine)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reply = pool.submit(httpx2.post, f"{server.url}/v1/embeddings",
                            json={"input": ["word " * 300] * 128}, timeout=120)
        time.sleep(0.5)
        server.terminate()
        time.sleep(0.2)
        assert server.process.poll() is None  # draining
        server.terminate()
        server.process.wait(5)
        with pytest.raises(httpx2.HTTPError):
            if reply.result().status_code != 200:
                raise httpx2.HTTPError("cancelled")


def test_port_in_use_is_a_sentence(engine, server):
    run = subprocess.run([harness.BINARY, "serve", engine, "--port", str(server.port)],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode not in (0, None)
    assert str(server.port) in run.stdout + run.stderr


@pytest.mark.parametrize("kind", ["missing", "not an engine"])
def test_serving_nonsense_is_a_sentence(tmp_path, kind):
    path = tmp_path / "engine"
    if kind != "missing":
        path.mkdir()
        (path / "notes.txt").write_text("nothing here")
    run = subprocess.run([harness.BINARY, "serve", path, "--port", "0"],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode > 0
    assert str(path) in run.stderr + run.stdout
    assert "terminate called" not in run.stderr


def test_help_and_version():
    for flag in ("--help", "--version"):
        run = subprocess.run([harness.BINARY, flag], capture_output=True, text=True, timeout=30)
        assert run.returncode == 0
        assert run.stdout.strip()
