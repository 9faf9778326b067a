"""llama.cpp beside `millrace bench model` on this CPU: the same shape, random weights, F16 there.

    python bench/decoder/peer_llamacpp.py LLAMA_CPP_SOURCE [--shape DIR] [--threads N] [--work DIR]

LLAMA_CPP_SOURCE is the source tree of llama.cpp, as the source package of llama-cpp-python carries it in vendor/llama.cpp
(`pip download --no-deps --no-binary :all: llama-cpp-python`). Builds llama-bench and llama-batched-bench there, for this machine,
writes a GGUF file of the shape with random weights, and prints prompt and generation rates of one stream and of eight.
Needs numpy and cmake.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def build(source: Path) -> Path:
    out = source / "build-millrace"
    flags = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF",
             "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF", "-DBUILD_SHARED_LIBS=OFF"]
    subprocess.run(["cmake", "-S", source, "-B", out, "-G", "Ninja", *flags], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", out, "--target", "llama-bench", "llama-batched-bench"], check=True, stdout=subprocess.DEVNULL)
    return out / "bin"


def write_gguf(source: Path, config: dict, path: Path) -> None:
    sys.path.insert(0, str(source / "gguf-py"))
    import gguf

    hidden, heads, kv_heads, head = (config[key] for key in ("hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim"))
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_freq_base(float(config["rope_theta"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    random = np.random.default_rng(1)

    def matrix(name, rows, columns):
        writer.add_tensor(name, (random.standard_normal((rows, columns), dtype=np.float32) * columns ** -0.5).astype(np.float16))

    def norm(name, width):
        writer.add_tensor(name, np.ones(width, dtype=np.float32))

    matrix("token_embd.weight", config["vocab_size"], hidden)
    norm("output_norm.weight", hidden)
    for layer in range(config["num_hidden_layers"]):
        block = f"blk.{layer}."
        matrix(block + "attn_q.weight", heads * head, hidden)
        matrix(block + "attn_k.weight", kv_heads * head, hidden)
        matrix(block + "attn_v.weight", kv_heads * head, hidden)
        matrix(block + "attn_output.weight", hidden, heads * head)
        norm(block + "attn_q_norm.weight", head)
        norm(block + "attn_k_norm.weight", head)
        norm(block + "attn_norm.weight", hidden)
        norm(block + "ffn_norm.weight", hidden)
        matrix(block + "ffn_gate.weight", config["intermediate_size"], hidden)
        matrix(block + "ffn_up.weight", config["intermediate_size"], hidden)
        matrix(block + "ffn_down.weight", hidden, config["intermediate_size"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--shape", type=Path, default=HERE / "shapes" / "qwen3_0.6b")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("/tmp"))
    parser.add_argument("--repeat", type=int, default=3)
    a = parser.parse_args()
    bin = build(a.source)
    model = a.work / f"{a.shape.name}-f16.gguf"
    if not model.exists():
        write_gguf(a.source, json.loads((a.shape / "config.json").read_text()), model)
    done = subprocess.run([bin / "llama-bench", "-m", model, "-t", str(a.threads), "-p", "128", "-n", "32", "-r", str(a.repeat),
                           "-o", "json"], check=True, capture_output=True, text=True)
    for row in json.loads(done.stdout):
        what = f"prompt of {row['n_prompt']}" if row["n_prompt"] else f"generation of {row['n_gen']}, one stream"
        print(f"llama.cpp {what}: {row['avg_ts']:.1f} tokens/s (standard deviation {row['stddev_ts']:.1f})", flush=True)
    done = subprocess.run([bin / "llama-batched-bench", "-m", model, "-t", str(a.threads), "-c", "4096", "-npp", "64", "-ntg", "32",
                           "-npl", "1,8", "--output-format", "jsonl"], check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            print(f"llama.cpp {row['pl']} streams behind prompts of {row['pp']}: {row['speed_tg']:.1f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
