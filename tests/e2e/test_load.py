"""Load: many connections with aborts, and ten times more than the server can do.

Small by default, to show in seconds that nothing breaks. MILLRACE_LOAD=full (scripts/load) runs the
figures that docs/benchmarking.md promises, and only then speed is asserted.
"""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import harness
import httpx2
import pytest

FULL = os.environ.get("MILLRACE_LOAD") == "full"
# Gauges of work: nothing may be left of a load.
IDLE_GAUGES = ("millrace_requests_in_flight", "millrace_waiting_tokens")


def bench(server, *flags, tmp_path, seconds, warmup):
    """Runs `millrace bench embed`; returns its report. Its own checks must have passed."""
    report = tmp_path / f"report-{time.monotonic_ns()}.json"
    command = [harness.BINARY, "bench", "embed", server.url, "--duration", seconds, "--warmup", warmup,
               "--json", report, *flags]
    run = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(run.stdout)
    assert run.returncode == 0, run.stdout
    report = json.loads(report.read_text())
    assert set(report["statuses"]) <= {"200", "429"}
    assert not report["failures"]
    return report


class MemoryWatch:
    """Resident memory of a process, sampled while the block runs."""

    def __init__(self, pid, interval=0.1):
        self.pid, self.interval = pid, interval
        self.samples = []  # (seconds, bytes)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        begin = time.monotonic()
        while not self._done.wait(self.interval):
            status = Path(f"/proc/{self.pid}/status").read_text()
            kib = int(status.split("VmRSS:")[1].split()[0])
            self.samples.append((time.monotonic() - begin, kib * 1024))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def growth(self, begin, end):
        """(least-squares slope in bytes/s, last bytes) of the samples between two times in seconds."""
        points = [point for point in self.samples if begin <= point[0] < end]
        assert len(points) >= 10
        mean_t = sum(t for t, _ in points) / len(points)
        mean_b = sum(b for _, b in points) / len(points)
        slope = (sum((t - mean_t) * (b - mean_b) for t, b in points)
                 / sum((t - mean_t) ** 2 for t, _ in points))
        return slope, points[-1][1]


def gauges(server):
    values = {}
    for line in httpx2.get(f"{server.url}/metrics").text.splitlines():
        name, _, value = line.partition(" ")
        if name in IDLE_GAUGES:
            values[name] = float(value)
    assert set(values) == set(IDLE_GAUGES)
    return values


def assert_idle_and_healthy(server):
    """What the load left behind is gone (aborted requests a step later), and the server answers."""
    deadline = time.monotonic() + 30
    while any(gauges(server).values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(gauges(server).values()), gauges(server)
    assert httpx2.get(f"{server.url}/health").status_code == 200
    assert httpx2.post(f"{server.url}/v1/embeddings", json={"input": "a"}).status_code == 200
    assert server.process.poll() is None


@pytest.fixture
def own_server(engine):
    with harness.Server(engine) as running:
        yield running


def test_many_connections_of_which_a_third_hangs_up(own_server, tmp_path):
    connections, seconds, warmup = (2000, 120, 40) if FULL else (200, 4, 2)
    with MemoryWatch(own_server.process.pid) as memory:
        report = bench(own_server, "--concurrency", connections, "--tokens", "5-510", "--abort-fraction", 0.3,
                       "--check", "--timeout", 120, tmp_path=tmp_path, seconds=seconds, warmup=warmup)
    assert report["connections"] >= connections
    assert report["aborted"] > 0
    assert report["statuses"]["200"] > 0
    assert report["check"]["compared"] >= report["check"]["probes"] == 8
    assert report["check"]["different"] == report["check"]["missing"] == 0
    slope, resident = memory.growth(warmup, warmup + seconds)
    print(f"memory: {resident / 2**20:.1f} MiB at the end of the window, {slope / 1024:+.2f} KiB/s in it")
    # A leak of a request's bytes, a few KiB, at a hundred requests a second.
    assert slope * seconds < (0.02 if FULL else 0.1) * resident
    assert_idle_and_healthy(own_server)


def test_ten_times_too_much(own_server, tmp_path):
    mix = ("--tokens", "5:1,192-256:9" if FULL else "5:1,16-48:1")
    seconds, fill = (60, 40) if FULL else (3, 2)
    before = bench(own_server, *mix, "--concurrency", 32, tmp_path=tmp_path,
                   seconds=20 if FULL else 2, warmup=2 if FULL else 1)
    capacity = before["goodput"]
    rate = 10 * capacity["requests_per_s"]
    report = bench(own_server, *mix, "--rate", rate, "--check", "--timeout", 120, tmp_path=tmp_path,
                   seconds=seconds, warmup=fill)
    assert report["statuses"]["200"] > 0
    assert report["check"]["different"] == report["check"]["missing"] == 0
    assert report["dropped"] == 0
    assert_idle_and_healthy(own_server)
    after = bench(own_server, *mix, "--concurrency", 32, tmp_path=tmp_path,
                  seconds=20 if FULL else 2, warmup=2 if FULL else 1)
    share = report["goodput"]["tokens_per_s"] / max(
        one["goodput"]["tokens_per_s"] for one in (before, after))
    short = [one["latency_ms_by_tokens"]["1-32"]["p99"] for one in (before, report, after)]
    print(f"goodput: {share:.3f} of capacity; p99 of short requests: {short[0]:.0f} ms before, "
          f"{short[1]:.0f} ms in the overload, {short[2]:.0f} ms after")
    if not FULL:
        return
    assert report["statuses"]["429"] > 0
    assert share >= 0.95
    assert short[1] < 5000
    assert short[2] < 2 * short[0]
