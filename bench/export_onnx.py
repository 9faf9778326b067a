"""Writes a BERT sentence embedder as fused ONNX graphs, for onnxruntime at its best.

    python bench/export_onnx.py MODEL_DIR OUT_DIR [--check tests/golden/minilm/expected.safetensors]

MODEL_DIR is a checkpoint with mean pooling and Normalize, such as all-MiniLM-L6-v2. Needs onnx,
onnxruntime, numpy, safetensors and sympy (for the optimizer); no torch. The graph is built in the
shape that exporters give, then onnxruntime's own optimizer for BERT fuses it: attention, GELU,
embedding and skip norms. Two files are written, as either may be faster: `attention.onnx` merges Q,
K and V into one operator with their projections; `mha.onnx` keeps the projections as products.

Inputs input_ids, attention_mask, token_type_ids: int64 [batch, length], padded on the right.
Output embeddings: float32 [batch, hidden], of length 1.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.fusion_options import (
    AttentionMaskFormat,
    AttentionOpType,
    FusionOptions,
)
from onnxruntime.transformers.optimizer import optimize_model
from safetensors.numpy import load_file

OPSET = 17


class Graph:
    """Nodes and constants in the order in which they are named."""

    def __init__(self, weights: dict):
        self.weights, self.nodes, self.constants = weights, [], {}

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        out = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **attributes))
        return out

    def const(self, name: str, value, dtype=np.float32) -> str:
        array = np.ascontiguousarray(np.array(value, dtype))
        self.constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, transpose: bool = False) -> str:
        value = self.weights[name].astype(np.float32)
        return self.const(name, value.T if transpose else value)

    def linear(self, x: str, name: str) -> str:
        product = self.op("MatMul", x, self.weight(f"{name}.weight", transpose=True))
        return self.op("Add", self.weight(f"{name}.bias"), product)

    def norm(self, x: str, name: str, epsilon: float) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)


def encoder(g: Graph, config: dict) -> str:
    """The embedding and the layers; returns the name of the last hidden state."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim, eps = hidden // heads, config["layer_norm_eps"]
    assert config["hidden_act"] == "gelu", config["hidden_act"]

    zero, one = (g.const(f"axis{i}", [i], np.int64) for i in range(2))
    length = g.op("Gather", g.op("Shape", "input_ids"), g.const("one", 1, np.int64), axis=0)
    positions = g.const("positions", [np.arange(config["max_position_embeddings"])], np.int64)
    positions = g.op("Slice", positions, zero, g.op("Unsqueeze", length, zero), one, one)
    words, types, places = (g.weight(f"embeddings.{kind}_embeddings.weight")
                            for kind in ("word", "token_type", "position"))
    x = g.op("Add", g.op("Gather", words, "input_ids"), g.op("Gather", types, "token_type_ids"))
    x = g.op("Add", x, g.op("Gather", places, positions))
    x = g.norm(x, "embeddings.LayerNorm", eps)

    mask = g.op("Unsqueeze", "attention_mask", one)
    mask = g.op("Unsqueeze", mask, g.const("axis2", [2], np.int64))
    mask = g.op("Cast", mask, to=TensorProto.FLOAT)
    mask = g.op("Mul", g.op("Sub", g.const("f1", 1.0), mask), g.const("masked", -10000.0))
    split = g.const("split", [0, 0, heads, head_dim], np.int64)
    merge = g.const("merge", [0, 0, hidden], np.int64)
    scale = g.const("scale", math.sqrt(head_dim))
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}"
        q, k, v = (g.op("Transpose", g.op("Reshape", g.linear(x, f"{p}.attention.self.{n}"), split),
                        perm=[0, 2, 3, 1] if n == "key" else [0, 2, 1, 3])
                   for n in ("query", "key", "value"))
        scores = g.op("Add", g.op("Div", g.op("MatMul", q, k), scale), mask)
        context = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
        context = g.op("Reshape", g.op("Transpose", context, perm=[0, 2, 1, 3]), merge)
        out = g.linear(context, f"{p}.attention.output.dense")
        x = g.norm(g.op("Add", out, x), f"{p}.attention.output.LayerNorm", eps)
        up = g.linear(x, f"{p}.intermediate.dense")
        erf = g.op("Erf", g.op("Div", up, g.const("sqrt2", math.sqrt(2.0))))
        gelu = g.op("Mul", up, g.op("Add", erf, g.const("f1", 1.0)))
        gelu = g.op("Mul", gelu, g.const("half", 0.5))
        out = g.linear(gelu, f"{p}.output.dense")
        x = g.norm(g.op("Add", out, x), f"{p}.output.LayerNorm", eps)
    return x


def mean_pool(g: Graph, x: str) -> str:
    """Mean over real tokens, then length 1: a sum suffices, as the count cancels in the norm."""
    axis = g.const("axis1", [1], np.int64)
    row = g.op("Unsqueeze", g.op("Cast", "attention_mask", to=TensorProto.FLOAT), axis)
    total = g.op("Squeeze", g.op("MatMul", row, x), axis)  # [1, length] x [length, hidden]
    return g.op("LpNormalization", total, axis=-1, p=2)


def build(model_dir: Path) -> onnx.ModelProto:
    config = json.loads((model_dir / "config.json").read_text())
    g = Graph(load_file(model_dir / "model.safetensors"))
    mean_pool(g, encoder(g, config))
    g.nodes[-1].output[0] = "embeddings"
    tokens = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
              for name in ("input_ids", "attention_mask", "token_type_ids")]
    shape = ["batch", config["hidden_size"]]
    out = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, shape)
    graph = helper.make_graph(g.nodes, "bert", tokens, [out], list(g.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def fuse(plain: Path, out: Path, config: dict, multi_head: bool) -> dict:
    options = FusionOptions("bert")
    options.attention_mask_format = AttentionMaskFormat.MaskIndexEnd  # lengths, not a mask
    options.use_multi_head_attention = multi_head
    if multi_head:
        options.set_attention_op_type(AttentionOpType.MultiHeadAttention)
    model = optimize_model(str(plain), "bert", num_heads=config["num_attention_heads"],
                           hidden_size=config["hidden_size"], optimization_options=options,
                           opt_level=0, use_gpu=False)
    model.save_model_to_file(str(out))
    return {kind: n for kind, n in model.get_fused_operator_statistics().items() if n}


def check(path: Path, expected: Path) -> float:
    """The smallest cosine to the stored embeddings, in padded batches of 16."""
    want = load_file(expected)
    cu, worst = want["cu_seqlens"], 1.0
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    everything = [want["token_ids"][a:b] for a, b in zip(cu[:-1], cu[1:])]
    for begin in range(0, len(everything), 16):
        rows = everything[begin:begin + 16]
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        got = session.run(None, feed)[0]
        truth = want["embeddings"][begin:begin + 16]
        norms = np.linalg.norm(got, axis=1) * np.linalg.norm(truth, axis=1)
        worst = min(worst, float(((got * truth).sum(1) / norms).min()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--check", type=Path, help="expected.safetensors of this model")
    args = parser.parse_args()
    config = json.loads((args.model_dir / "config.json").read_text())
    args.out_dir.mkdir(parents=True, exist_ok=True)
    plain = args.out_dir / "plain.onnx"
    onnx.save(build(args.model_dir), str(plain))
    for name in ("attention", "mha"):
        path = args.out_dir / f"{name}.onnx"
        report = {"model": str(path), "fused": fuse(plain, path, config, name == "mha")}
        if args.check:
            report["min_cosine"] = check(path, args.check)
            assert report["min_cosine"] >= 0.99999, report
        print(json.dumps(report))
    plain.unlink()


if __name__ == "__main__":
    main()
