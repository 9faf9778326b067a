"""Causal attention of prompts through torch on this GPU, beside the prefill cases of `test_ops --bench`.

    python3 bench/gpu/peer_attention.py

The fastest of torch's kernels over contiguous keys of their own for each head group, in TFLOP/s.
"""

import torch
import torch.nn.functional as F
from peer_torch import timed
from torch.nn.attention import SDPBackend, sdpa_kernel

# sequences, tokens, query heads, key heads, columns: as tests/ops/paged_bench.cpp has them
CASES = [(1, 8192, 32, 8, 128), (16, 512, 32, 8, 128), (1, 8192, 32, 8, 64), (1, 8192, 8, 4, 256)]


def main() -> None:
    for sequences, tokens, heads, kv_heads, head_dim in CASES:
        def rows(count):
            return torch.randn(sequences, tokens, count, head_dim, device="cuda", dtype=torch.bfloat16).transpose(1, 2)

        q, k, v = rows(heads), rows(kv_heads), rows(kv_heads)
        flops = 4 * sequences * tokens * (tokens + 1) / 2 * heads * head_dim
        found = []
        for name, backend in (("cuDNN", SDPBackend.CUDNN_ATTENTION), ("flash", SDPBackend.FLASH_ATTENTION)):
            try:
                with sdpa_kernel(backend):
                    seconds = timed(
                        lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True), 0.3)
                    found.append(f"{name} {flops / seconds / 1e12:.0f}")
            except RuntimeError:  # this kernel does not take the size
                continue
        print(f"prefill {sequences} x {tokens}, {heads} heads of {kv_heads}, {head_dim}: TFLOP/s {', '.join(found)}", flush=True)


if __name__ == "__main__":
    main()
