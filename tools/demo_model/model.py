"""Qwen3 for training: flat packed documents in, logits out; parameters are named as the checkpoint names them.

Shapes: N tokens of several documents in one row; `starts` holds the documents' first positions and N, padded with N.
"""

import inspect
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import varlen

_signature = inspect.signature(varlen.varlen_attn).parameters
# Releases of PyTorch differ in how causal attention and grouped heads are asked for.
_causal: dict[str, Any] = {"is_causal": True} if "is_causal" in _signature else {"window_size": (-1, 0)}
_grouped = "enable_gqa" in _signature


@dataclass(frozen=True)
class Shape:
    vocab_size: int = 3072
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 64
    max_position_embeddings: int = 4096
    rope_theta: float = 100_000.0
    rms_norm_eps: float = 1e-6

    def config(self) -> dict[str, Any]:
        """config.json of the checkpoint."""
        rope = {"rope_type": "default", "rope_theta": self.rope_theta}
        return {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            **asdict(self),
            "rope_parameters": rope,
            "rope_scaling": None,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "sliding_window": None,
            "max_window_layers": self.num_hidden_layers,
            "initializer_range": 0.02,
            "use_cache": True,
            "torch_dtype": "bfloat16",
            "bos_token_id": None,
        }


def attend(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, longest: int) -> Tensor:
    """Causal attention inside each document; q [N, heads, d], k and v [N, kv_heads, d]."""
    repeat = q.shape[1] // k.shape[1]
    if q.is_cuda:
        options = dict(_causal)
        if _grouped:
            options["enable_gqa"] = True
        else:
            k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        return varlen.varlen_attn(q, k, v, starts, starts, longest, longest, **options)
    position = torch.arange(q.shape[0])
    document = torch.searchsorted(starts, position.to(starts.dtype), right=True)
    mask = (document[:, None] == document[None]) & (position[:, None] >= position[None])
    out = F.scaled_dot_product_attention(q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1), mask, enable_gqa=True)
    return out.transpose(0, 1)


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    y = x.float()
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding over halves; cos and sin [N, 1, d/2]."""
    a, b = x.float().chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


class Block(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.s = s
        q, kv = s.num_attention_heads * s.head_dim, s.num_key_value_heads * s.head_dim
        shapes = {
            "self_attn.q_proj": (q, s.hidden_size),
            "self_attn.k_proj": (kv, s.hidden_size),
            "self_attn.v_proj": (kv, s.hidden_size),
            "self_attn.o_proj": (s.hidden_size, q),
            "mlp.gate_proj": (s.intermediate_size, s.hidden_size),
            "mlp.up_proj": (s.intermediate_size, s.hidden_size),
            "mlp.down_proj": (s.hidden_size, s.intermediate_size),
        }
        self.matrices = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(torch.randn(shape) * 0.02) for name, shape in shapes.items()}
        )
        sizes = {"input_layernorm": s.hidden_size, "post_attention_layernorm": s.hidden_size}
        sizes |= {"self_attn.q_norm": s.head_dim, "self_attn.k_norm": s.head_dim}
        self.norms = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(torch.ones(size)) for name, size in sizes.items()}
        )
        with torch.no_grad():
            for name in ("self_attn/o_proj", "mlp/down_proj"):
                self.matrices[name].mul_((2 * s.num_hidden_layers) ** -0.5)
        self.lora: nn.ParameterDict | None = None  # name/A and name/B, set by an adapter
        self.lora_scale = 0.0

    def matrix(self, name: str) -> Tensor:
        weight = self.matrices[name]
        if self.lora is not None and name + "/A" in self.lora:
            weight = weight + self.lora_scale * (self.lora[name + "/B"] @ self.lora[name + "/A"])
        return weight.bfloat16()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, starts: Tensor, longest: int) -> Tensor:
        s, n = self.s, x.shape[0]
        h = norm(x, self.norms["input_layernorm"], s.rms_norm_eps)
        qkv = F.linear(h, torch.cat([self.matrix(f"self_attn/{p}_proj") for p in "qkv"])).view(n, -1, s.head_dim)
        q, k, v = qkv.split([s.num_attention_heads, s.num_key_value_heads, s.num_key_value_heads], 1)
        q = rotate(norm(q, self.norms["self_attn/q_norm"], s.rms_norm_eps), cos, sin)
        k = rotate(norm(k, self.norms["self_attn/k_norm"], s.rms_norm_eps), cos, sin)
        x = x + F.linear(attend(q, k, v.contiguous(), starts, longest).reshape(n, -1), self.matrix("self_attn/o_proj"))
        h = norm(x, self.norms["post_attention_layernorm"], s.rms_norm_eps)
        gate, up = F.linear(h, torch.cat([self.matrix("mlp/gate_proj"), self.matrix("mlp/up_proj")])).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.matrix("mlp/down_proj"))


class Model(nn.Module):
    def __init__(self, shape: Shape = Shape()):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(shape.vocab_size, shape.hidden_size) * 0.02)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.Parameter(torch.ones(shape.hidden_size))
        angles = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).double() / shape.head_dim)
        turns = torch.arange(shape.max_position_embeddings).double()[:, None] * angles
        self.register_buffer("cos", turns.cos().float(), persistent=False)
        self.register_buffer("sin", turns.sin().float(), persistent=False)

    def forward(self, tokens: Tensor, positions: Tensor, starts: Tensor, longest: int) -> Tensor:
        """The last hidden rows, [N, hidden], normalised."""
        x = self.embedding[tokens].bfloat16()
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        for layer in self.layers:
            x = layer(x, cos, sin, starts, longest)
        return norm(x, self.norm, self.shape.rms_norm_eps)

    def checkpoint(self) -> dict[str, Tensor]:
        """Parameters under their Hugging Face names."""
        out = {"model.embed_tokens.weight": self.embedding.data, "model.norm.weight": self.norm.data}
        for i, layer in enumerate(self.layers):
            for name, p in [*layer.matrices.items(), *layer.norms.items()]:
                out[f"model.layers.{i}.{name.replace('/', '.')}.weight"] = p.data
        return out

    def load(self, tensors: dict[str, Tensor]) -> None:
        mine = self.checkpoint()
        assert mine.keys() == tensors.keys()
        for name, tensor in tensors.items():
            mine[name].copy_(tensor)


def token_loss(hidden: Tensor, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each position, and whether the likeliest token is the label."""
    logits = F.linear(hidden, embedding.bfloat16()).float()
    return F.cross_entropy(logits, labels, reduction="none"), logits.argmax(-1) == labels
