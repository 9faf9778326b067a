"""The same ops through torch on this GPU, for the last column of `test_ops --bench`: microseconds by case, as JSON.

    python3 bench/gpu/peer_ops.py > times.json
"""

import json

import torch
import torch.nn.functional as F
from peer_torch import timed
from torch.nn.attention import SDPBackend, sdpa_kernel

TOKENS = 16384  # as tests/ops/ops_bench.cpp has it


def attention(heads: int, head_dim: int, dtype: torch.dtype) -> float:
    """The fastest of torch's kernels over heads that lie as a projection leaves them."""
    qkv = torch.randn(TOKENS // 512, 512, 3, heads, head_dim, device="cuda", dtype=dtype)
    q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
    times = []
    for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION):
        try:
            with sdpa_kernel(backend):
                times.append(timed(lambda: F.scaled_dot_product_attention(q, k, v), 0.2))
        except RuntimeError:  # this kernel does not take the type or the size
            continue
    return min(times)


def main() -> None:
    out = {}
    for name, dtype in (("BF16", torch.bfloat16), ("F16", torch.float16), ("F32", torch.float32)):
        def rows(*shape):
            return torch.randn(*shape, device="cuda", dtype=dtype)

        def note(case: str, run) -> None:
            out[f"cuda_{name} {case}"] = 1e6 * timed(run, 0.2)

        x, delta, gamma, beta = rows(TOKENS, 768), rows(TOKENS, 768), rows(768), rows(768)
        tables = [rows(30522, 768), rows(512, 768), rows(2, 768)]
        ids = [torch.randint(0, len(table), (TOKENS,), device="cuda") for table in tables]
        note(f"embed_{TOKENS}x768", lambda: F.layer_norm(
            sum(F.embedding(i, t) for i, t in zip(ids, tables)), (768,), gamma, beta))
        note(f"add_layer_norm_{TOKENS}x768", lambda: F.layer_norm(x + delta, (768,), gamma, beta))
        for outputs, inputs, gelu in ((2304, 768, False), (3072, 768, True), (768, 3072, False)):
            a, w, b = rows(TOKENS, inputs), rows(outputs, inputs), rows(outputs)
            case = f"linear_{TOKENS}x{outputs}x{inputs}"
            if gelu:
                note(case + "_gelu", lambda: F.gelu(F.linear(a, w, b)))
            else:
                note(case, lambda: F.linear(a, w, b))
        for heads, head_dim in ((12, 32), (12, 64), (8, 96), (8, 128)):
            out[f"cuda_{name} attention_{TOKENS // 512}x512_{heads}_heads_of_{head_dim}"] = 1e6 * attention(heads, head_dim, dtype)
        hidden = rows(TOKENS // 512, 512, 768)
        note(f"pool_mean_{TOKENS // 512}x512_x768", lambda: hidden.mean(1, dtype=torch.float32))
        vectors = torch.randn(TOKENS, 384, device="cuda")
        note(f"normalize_rows_{TOKENS}x384", lambda: F.normalize(vectors))
    print(json.dumps(out))


if __name__ == "__main__":
    main()
