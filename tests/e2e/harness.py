"""Builds engines and runs servers of the release binary, for tests and the demo."""

import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BINARY = Path(os.environ.get("MILLRACE_BINARY", ROOT / "build" / "millrace"))
CONFIG = ROOT / "examples" / "minilm" / "config.yaml"
GOLDEN = ROOT / "tests" / "golden"
# Where MILLRACE_TEST_DEVICE says cuda, engines carry kernels and servers compute on the GPU: in fp32, and so that
# a result does not depend on its batch, as on the CPU.
ON_GPU = os.environ.get("MILLRACE_TEST_DEVICE") == "cuda"
BUILD_FLAGS = ["--target", "sm_90a,sm_80", "--dtype", "fp32"] if ON_GPU else []
SERVE_FLAGS = ["--device", "cuda", "--dtype", "fp32", "--deterministic"] if ON_GPU else []
DEVICE = "cuda:0" if ON_GPU else "cpu"
# Some tests need work that takes seconds, to act while it is done.
needs_slow_steps = pytest.mark.skipif(ON_GPU, reason="a GPU is done before the test can act")
READY = re.compile(r"http://\S+:(\d+)")


def build_engine(output, *flags, config=CONFIG):
    """Builds what a config says; returns what `millrace build` printed."""
    return run_build("--config", config, "--output", output, *flags)


def run_build(*flags):
    command = [BINARY, "build", *BUILD_FLAGS, *flags]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"millrace build failed with {run.returncode}:\n{run.stdout}")
    return run.stdout


def golden_texts():
    return json.loads((GOLDEN / "texts.json").read_text())


class Server:
    """A `millrace serve` process on a free port, ready when the constructor returns."""

    def __init__(self, model, *flags, timeout=60.0):
        command = [BINARY, "serve", model, "--port", "0", *SERVE_FLAGS, *flags]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []  # everything printed so far
        self.port = None
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(timeout) or self.port is None:
            self.process.kill()
            raise RuntimeError(f"no ready line (limit {timeout} s):\n{self.log()}")

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if self.port is None and (match := READY.search(line)):
                self.port = int(match[1])
                self._ready.set()
        self._ready.set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def log(self):
        return "".join(self.lines)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout=30.0):
        """SIGTERM, then waits; returns the exit status."""
        if self.process.poll() is None:
            self.terminate()
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError(f"not gone {timeout} s after SIGTERM:\n{self.log()}") from None
        self._reader.join(timeout)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
