"""Decoders without a server: building one from a config.yaml, and `millrace bench model`."""

import json
import shutil
import subprocess

import harness

DEMO = harness.ROOT / "examples" / "demo-model"
DEVICE = ["--device", "cuda" if harness.ON_GPU else "cpu"]
SIZES = ["--prompts", "32,100", "--batch-sizes", "1,3", "--contexts", "40", "--steps", 3]


def millrace(*arguments):
    command = list(map(str, [harness.BINARY, *arguments]))
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def write_config(path, **runtime):
    path.write_text(json.dumps({
        "model_name": "demo",
        "trt_llm": {
            "build": {"base_model": "decoder", "max_seq_len": 512, "max_batch_size": 8,
                      "checkpoint_repository": {"source": "LOCAL", "repo": str(DEMO)}},
            "runtime": runtime}}))
    return path


def test_an_engine_from_a_config_is_measured(tmp_path):
    config = write_config(tmp_path / "config.yaml", batch_scheduler_policy="max_utilization", total_token_limit=4096)
    assert millrace("validate", config).returncode == 0
    assert "keys and values: 16.0 KiB a token" in millrace("plan", config).stdout
    built = millrace("build", "--config", config, "--output", tmp_path / "engine", *harness.BUILD_FLAGS)
    assert built.returncode == 0, built.stderr
    written = json.loads((tmp_path / "engine" / "config.json").read_text())
    assert written["build_config"]["max_seq_len"] == 512
    assert written["pretrained_config"]["num_key_value_heads"] == 4
    run = millrace("bench", "model", tmp_path / "engine", *DEVICE, *SIZES, "--json", tmp_path / "report.json")
    assert run.returncode == 0, run.stderr
    assert "decode    3 x     40 tokens" in run.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["architecture"] == "Qwen3ForCausalLM" and not report["random_weights"]
    assert [p["num_tokens"] for p in report["prefill"]] == [32, 100]
    assert [(d["batch_size"], d["context"]) for d in report["decode"]] == [(1, 40), (3, 40)]
    assert all(d["tokens_per_s"] > 0 and d["memory_share"] > 0 for d in report["decode"])


def test_random_weights_need_a_config_json_alone(tmp_path):
    shutil.copy(DEMO / "config.json", tmp_path)
    run = millrace("bench", "model", tmp_path, "--random-weights", 5, *DEVICE, *SIZES)
    assert run.returncode == 0, run.stderr
    assert "random weights" in run.stdout


def test_what_cannot_be_measured_is_refused_or_skipped(tmp_path):
    run = millrace("bench", "model", harness.GOLDEN / "bert_mean", *DEVICE)
    assert run.returncode == 2
    assert "BertModel generates no text" in run.stderr
    run = millrace("bench", "model", DEMO, *DEVICE, "--kv-cache-bytes", 1000, *SIZES)
    assert run.returncode == 2
    assert "one sequence of max_seq_len" in run.stderr and "kv_cache_bytes" in run.stderr
    run = millrace("bench", "model", DEMO, *DEVICE, *SIZES[:2], "--batch-sizes", "1,900", "--contexts", "100",
                   "--steps", 1, "--kv-cache-bytes", 64 << 20)
    assert run.returncode == 0, run.stderr
    assert "skipped decode of 900 sequences at 100 tokens" in run.stdout


def test_a_config_that_contradicts_itself_says_where(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("trt_llm:\n  build:\n    base_model: decoder\n"
                      f"    checkpoint_repository: {{source: LOCAL, repo: {DEMO}}}\n"
                      "    plugin_configuration: {paged_kv_cache: false}\n")
    run = millrace("validate", config)
    assert run.returncode != 0
    assert "MR1303" in run.stdout + run.stderr
