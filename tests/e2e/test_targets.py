"""Engines with kernels for GPUs, by the command line, on a machine without a GPU."""

import json
import subprocess

import harness
import pytest

LIBRARY = harness.BINARY.parent / "libmillrace_cuda.so"
pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="built without the CUDA library (make setup-gpu)")
MODEL = harness.GOLDEN / "bert_mean"


def millrace(*arguments):
    run = subprocess.run([harness.BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout + run.stderr


def targets_of(engine):
    return json.loads((engine / "manifest.json").read_text())["targets"]


def test_targets_are_added_as_the_error_says(tmp_path):
    engine = tmp_path / "engine"
    assert millrace("build", "--model", MODEL, "--target", "sm_80,cpu", "-o", engine)[0] == 0
    assert targets_of(engine) == ["cpu", "sm_80"]
    status, printed = millrace("build", "--add-target", "sm_90a,sm_89", engine)
    assert status == 0, printed
    assert targets_of(engine) == ["cpu", "sm_80", "sm_89", "sm_90a"]
    status, printed = millrace("build", "--add-target", "sm_70", engine)
    assert status == 2 and "sm_70" in printed and "sm_80" in printed


def test_altered_kernels_are_refused(tmp_path):
    engine = tmp_path / "engine"
    assert millrace("build", "--model", MODEL, "--target", "sm_80", "-o", engine)[0] == 0
    kernels = engine / "kernels" / "sm_80.safetensors"
    kernels.write_bytes(kernels.read_bytes()[:-5])
    status, printed = millrace("serve", engine, "--port", "0")
    assert status == 1 and "truncated" in printed and str(kernels) in printed


def test_plan_lists_kernels():
    status, printed = millrace("plan", MODEL, "--kernels", "--json", "--target", "sm_90a,sm_80")
    assert status == 0, printed
    targets = json.loads(printed)["targets"]
    assert [target["target"] for target in targets] == ["sm_90a", "sm_80"]
    for target in targets:
        assert any(kernel["name"].startswith("smxx_attention") for kernel in target["kernels"])
        assert all(kernel["spill_bytes"] == 0 and kernel["registers"] > 0 for kernel in target["kernels"])
