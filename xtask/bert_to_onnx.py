#!/usr/bin/env python3
"""Write a BERT encoder's safetensors weights as an ONNX file, without torch.

usage: bert_to_onnx.py MODEL_DIR OUT.onnx        (needs: pip install onnx safetensors numpy)

`cargo xtask models` runs it.

MODEL_DIR holds config.json and model.safetensors in the Hugging Face layout (all-MiniLM-L6-v2,
for one). The graph takes input_ids, attention_mask, token_type_ids (int64, [batch, seq]) and gives
last_hidden_state (float32, [batch, seq, hidden]); pooling is the caller's (MiniLM: mean).
"""
import json
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


class Graph:
    """Collects nodes and constants; every method returns the name of the tensor that it adds."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], {}
        self.prefix = "" if "embeddings.word_embeddings.weight" in weights else "bert."

    def const(self, name, value):
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, key, transposed=False):
        value = self.weights[self.prefix + key].astype(np.float32)
        return self.const(key + (".T" if transposed else ""), value.T if transposed else value)

    def op(self, kind, *inputs, **attributes):
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def linear(self, x, key):
        return self.op("Add", self.op("MatMul", x, self.weight(f"{key}.weight", True)), self.weight(f"{key}.bias"))


def build(config, weights):
    g = Graph(weights)
    hidden, heads, eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    size = hidden // heads
    ints = lambda *v: np.array(v, np.int64)
    norm = lambda x, key: g.op("LayerNormalization", x, g.weight(f"{key}.weight"), g.weight(f"{key}.bias"), axis=-1, epsilon=eps)

    length = g.op("Shape", "input_ids", start=1, end=2)
    positions = g.op("Slice", g.weight("embeddings.position_embeddings.weight"), g.const("zero", ints(0)), length, g.const("axis0", ints(0)))
    words = g.op("Gather", g.weight("embeddings.word_embeddings.weight"), "input_ids")
    types = g.op("Gather", g.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    x = norm(g.op("Add", g.op("Add", words, positions), types), "embeddings.LayerNorm")

    # attention bias: 0 where a token is, -1e9 where padding is, as [batch, 1, 1, seq]
    absent = g.op("Sub", g.const("one", np.array(1, np.float32)), g.op("Cast", "attention_mask", to=TensorProto.FLOAT))
    bias = g.op("Unsqueeze", g.op("Mul", absent, g.const("minus_inf", np.array(-1e9, np.float32))), g.const("axes12", ints(1, 2)))

    split, join = g.const("split_heads", ints(0, 0, heads, size)), g.const("join_heads", ints(0, 0, hidden))
    scale = g.const("scale", np.array(size**-0.5, np.float32))
    for layer in range(config["num_hidden_layers"]):
        key = f"encoder.layer.{layer}."
        q, k, v = (g.op("Reshape", g.linear(x, f"{key}attention.self.{part}"), split) for part in ("query", "key", "value"))
        q, k, v = (g.op("Transpose", t, perm=perm) for t, perm in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])))
        scores = g.op("Add", g.op("Mul", g.op("MatMul", q, k), scale), bias)
        mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
        mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), join)
        x = norm(g.op("Add", g.linear(mixed, f"{key}attention.output.dense"), x), f"{key}attention.output.LayerNorm")
        wide = g.op("Gelu", g.linear(x, f"{key}intermediate.dense"))
        x = norm(g.op("Add", g.linear(wide, f"{key}output.dense"), x), f"{key}output.LayerNorm")
    g.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))

    tokens = lambda name: helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"])
    graph = helper.make_graph(
        g.nodes, "bert",
        [tokens(name) for name in ("input_ids", "attention_mask", "token_type_ids")],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "seq", hidden])],
        list(g.constants.values()),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def main():
    folder, out = sys.argv[1:3]
    with open(f"{folder}/config.json") as file:
        config = json.load(file)
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        sys.exit(f"{folder}: not a BERT encoder with exact gelu: {config.get('model_type')}, {config.get('hidden_act')}")
    model = build(config, load_file(f"{folder}/model.safetensors"))
    onnx.checker.check_model(model)
    onnx.save(model, out)


if __name__ == "__main__":
    main()
