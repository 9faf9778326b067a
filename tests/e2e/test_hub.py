"""Checkpoints from a hub: fetched, resumed, shared with Hugging Face's own client, served."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_hub
import harness
import httpx2
import pytest

MINILM = harness.ROOT / "examples" / "minilm" / "model"
TINY = harness.GOLDEN / "bert_mean"
COMMIT = "1234567890abcdef1234567890abcdef12345678"
PULL_REQUEST = "fedcba0987654321fedcba0987654321fedcba09"
TOKEN = "hf_abcdefSECRETfedcba"


def repositories():
    revisions = {"main": COMMIT, "refs/pr/1": PULL_REQUEST}
    return {"org/tiny": fake_hub.Repository(TINY, revisions),
            "org/shards": fake_hub.Repository(harness.GOLDEN / "bert_cls", revisions),
            "org/minilm": fake_hub.Repository(MINILM, revisions),
            "org/gated": fake_hub.Repository(TINY, revisions, token=TOKEN)}


@pytest.fixture
def hub():
    with fake_hub.FakeHub(repositories()) as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch, hub):
    """An empty hub cache and an environment that knows it, the fake hub and no token."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    return tmp_path / "hf" / "hub"


def command(*arguments):
    return [str(part) for part in (harness.BINARY, *arguments)]


def millrace(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)


def build(output, *arguments):
    run = millrace("build", "--output", output, "--model", *arguments)
    assert run.returncode == 0, run.stderr
    return run


def python(program):
    """Runs a program over huggingface_hub in a process of its own; returns what it printed."""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def tree(directory):
    return {str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("repo,directory", [("org/tiny", TINY), ("org/shards", harness.GOLDEN / "bert_cls")])
def test_an_engine_from_the_hub_is_that_of_the_directory(cache, tmp_path, repo, directory):
    build(tmp_path / "from_hub", repo)
    build(tmp_path / "from_directory", directory)
    assert tree(tmp_path / "from_hub") == tree(tmp_path / "from_directory")


def test_the_cache_is_that_of_huggingface_hub(cache, hub, tmp_path):
    build(tmp_path / "engine", "org/tiny", "--revision", "refs/pr/1")
    repository = cache / "models--org--tiny"
    assert (repository / "refs" / "refs" / "pr" / "1").read_text() == PULL_REQUEST
    snapshot = repository / "snapshots" / PULL_REQUEST
    model = snapshot / "model.safetensors"
    assert model.is_symlink() and not Path(os.readlink(model)).is_absolute()
    assert model.resolve() == repository / "blobs" / hub.etag(TINY / "model.safetensors")
    assert (snapshot / "1_Pooling" / "config.json").read_bytes() == \
        (TINY / "1_Pooling" / "config.json").read_bytes()
    assert not (snapshot / "expected.safetensors").exists()  # of no use to a build
    assert not list(cache.rglob("*.incomplete"))

    printed = python(f"""
import huggingface_hub as hub
folder = hub.snapshot_download("org/tiny", revision="refs/pr/1", local_files_only=True)
assert folder == {str(snapshot)!r}, folder
assert hub.try_to_load_from_cache("org/tiny", "1_Pooling/config.json", revision="refs/pr/1") == \
    {str(snapshot / "1_Pooling" / "config.json")!r}
assert hub.hf_hub_download("org/tiny", "model.safetensors", revision="refs/pr/1", local_files_only=True)
info = hub.scan_cache_dir()
assert not info.warnings, info.warnings
print([(repo.repo_id, sorted(r.refs)) for repo in info.repos for r in repo.revisions])
""")
    assert printed == str([("org/tiny", ["refs/pr/1"])])


@pytest.mark.parametrize("download", [
    'hub.snapshot_download("org/tiny")',
    '[hub.hf_hub_download("org/tiny", f) for f in hub.list_repo_files("org/tiny")]'])
def test_what_huggingface_hub_fetched_is_used_offline(cache, hub, tmp_path, monkeypatch, download):
    python(f"import huggingface_hub as hub; {download}")
    hub.seen.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    build(tmp_path / "engine", "org/tiny")
    assert not hub.seen
    monkeypatch.delenv("HF_HUB_OFFLINE")
    build(tmp_path / "engine", "org/tiny")
    assert [seen.path for seen in hub.seen] == ["/api/models/org/tiny/revision/main"]


def test_a_killed_download_goes_on_where_it_was(cache, hub, tmp_path):
    size = (MINILM / "model.safetensors").stat().st_size
    hub.bytes_per_second = 30_000_000
    process = subprocess.Popen(command("build", "--model", "org/minilm", "--revision", "refs/pr/1",
                                       "--output", tmp_path / "engine"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size > size // 4 for path in cache.rglob("*.incomplete")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = next(cache.rglob("*.incomplete")).stat().st_size
    assert size // 4 < kept < size
    assert not (cache / "models--org--minilm" / "refs").exists()  # nothing that could be used yet

    hub.bytes_per_second = None
    hub.seen.clear()
    build(tmp_path / "engine", "org/minilm", "--revision", "refs/pr/1")
    assert hub.sent("cdn") == size - kept
    assert not list(cache.rglob("*.incomplete"))
    build(tmp_path / "from_directory", MINILM)
    assert tree(tmp_path / "engine") == tree(tmp_path / "from_directory")


def test_two_processes_fetch_each_file_once(cache, hub, tmp_path):
    hub.bytes_per_second = 60_000_000
    runs = [subprocess.Popen(command("build", "--model", "org/minilm", "--output", tmp_path / name),
                             stderr=subprocess.PIPE, text=True) for name in ("one", "two")]
    logs = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], logs
    assert hub.sent("cdn") == (MINILM / "model.safetensors").stat().st_size
    assert any("another process is fetching" in log for log in logs)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_two_programs_fetch_at_once(cache, hub, tmp_path):
    """Hugging Face's client and ours, over the same locks."""
    hub.bytes_per_second = 60_000_000
    ours = subprocess.Popen(command("build", "--model", "org/minilm", "--output", tmp_path / "engine"),
                            stderr=subprocess.PIPE, text=True)
    python('import huggingface_hub as hub; hub.snapshot_download("org/minilm")')
    log = ours.communicate(timeout=120)[1]
    assert ours.returncode == 0, log
    assert hub.sent("cdn") == (MINILM / "model.safetensors").stat().st_size


def test_offline_without_a_cache_is_a_sentence(cache, hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run = millrace("build", "--model", "org/tiny", "--output", tmp_path / "engine")
    assert run.returncode == 1
    assert f"HF_HUB_OFFLINE is set, and the cache {cache} does not have org/tiny at main" in run.stderr
    assert not hub.seen


def test_an_unreachable_hub_leaves_the_cache(cache, hub, tmp_path, monkeypatch):
    build(tmp_path / "engine", "org/tiny")
    hub.stop()
    run = build(tmp_path / "again", "org/tiny")
    assert f"using commit {COMMIT} of org/tiny from the cache" in run.stderr
    run = millrace("plan", "org/shards")
    assert run.returncode == 1
    assert "cannot be reached" in run.stderr and "https_proxy" in run.stderr
    run = build(tmp_path / "pinned", "org/tiny", "--revision", COMMIT)  # a commit never changes
    assert "using commit" not in run.stderr


def test_a_gated_repository(cache, hub, tmp_path, monkeypatch):
    run = millrace("build", "--model", "org/gated", "--output", tmp_path / "engine")
    assert run.returncode == 2
    assert "org/gated at main is gated (status 401): Access to model org/gated" in run.stderr
    assert "HF_TOKEN" in run.stderr
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    run = millrace("build", "--model", "org/gated", "--output", tmp_path / "engine")
    assert "(status 403)" in run.stderr and "with the account of the token in HF_TOKEN" in run.stderr
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    run = build(tmp_path / "engine", "org/gated")
    assert TOKEN not in run.stderr + run.stdout and "s3cret" not in run.stderr
    assert any(seen.server == "cdn" for seen in hub.seen)
    assert not any(seen.authorization for seen in hub.seen if seen.server == "cdn")


@pytest.mark.parametrize("arguments,sentence", [
    (["org/none"], "org/none at main cannot be read (status 401): there is no such repository"),
    (["org/tiny", "--revision", "v9"], "there is no such revision: org/tiny at v9"),
    (["org/tiny", "--revision", "../x"], '"../x" is no revision of a repository'),
    ([str(TINY), "--revision", "main"], "--revision is for repositories"),
    (["no-such-directory/x/y"], "there is no directory no-such-directory/x/y")])
def test_wrong_names_are_sentences(cache, tmp_path, arguments, sentence):
    run = millrace("build", "--output", tmp_path / "engine", "--model", *arguments)
    assert run.returncode in (1, 2)
    assert sentence in run.stderr and "help:" in run.stderr


def test_a_plan_needs_no_weights(cache, hub):
    run = millrace("plan", "org/tiny", "--json")
    assert run.returncode == 0, run.stderr
    assert not any(seen.server == "cdn" for seen in hub.seen)


def test_a_config_names_a_repository(cache, hub, tmp_path, monkeypatch):
    config = tmp_path / "config.yaml"
    config.write_text("trt_llm:\n  build:\n    base_model: encoder_bert\n    checkpoint_repository:\n"
                      "      {source: HF, repo: org/tiny, revision: refs/pr/1}\n")
    assert millrace("validate", config).returncode == 0
    run = millrace("build", "--config", config, "--output", tmp_path / "engine")
    assert run.returncode == 0, run.stderr
    assert (cache / "models--org--tiny" / "snapshots" / PULL_REQUEST / "model.safetensors").exists()
    hub.stop()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    run = millrace("validate", config)  # the file is right, whatever the network
    assert run.returncode == 0 and "was not looked at" in run.stderr


def test_serving_a_repository(cache):
    with harness.Server("org/tiny") as server:
        assert httpx2.get(f"{server.url}/v1/models").json()["data"][0]["id"] == "org/tiny"
        reply = httpx2.post(f"{server.url}/v1/embeddings", json={"input": "a hub"})
        assert reply.status_code == 200 and reply.json()["model"] == "org/tiny"
