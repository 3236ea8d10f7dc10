"""Small ONNX files that ask for memory or time when they are read; what onnxruntime takes lacks unimatch's facts."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from unimatch.engines.onnx import OnnxEngine

FACTS = {
    "classes": ["a", "b"], "palette": [[0, 0, 0], [1, 1, 1]], "mean": [0.5] * 3, "std": [0.5] * 3, "size_multiple": 1,
    "inference": {}, "dates": 1,
}  # fmt: skip
node = helper.make_node


def constant(name: str, values: Any, kind: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.array(values, kind), name)


def graph(nodes: list[Any], constants: Any = (), *, facts: bool = False, takes: int = 1, **more: Any) -> bytes:
    """An ONNX file: images (B, 3, H, W), the first of ``takes`` inputs -> ``logits``."""
    images = [helper.make_tensor_value_info(f"image{i or ''}", 1, ["b", 3, "h", "w"]) for i in range(takes)]
    logits = helper.make_tensor_value_info("logits", 1, None)
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    made = helper.make_graph(nodes, "graph", images, [logits], list(constants), **more.pop("inner", {}))
    model = helper.make_model(made, opset_imports=domains, ir_version=8, **more)
    if facts:
        helper.set_model_props(model, {"unimatch": json.dumps(FACTS)})
    return bytes(model.SerializeToString())


def added(*nodes: Any) -> list[Any]:
    """Nodes whose last result, ``big``, is added to the image."""
    return [*nodes, node("ReduceMax", ["big"], ["most"], keepdims=0), node("Add", ["image", "most"], ["logits"])]


def laughing_functions() -> bytes:
    """Functions of which each calls the one before ten times."""
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = []
    for i in range(9):
        kind = {"op_type": f"F{i - 1}", "domain": "own"} if i else {"op_type": "Identity"}
        body = [node(inputs=[f"t{j}" if j else "x"], outputs=[f"t{j + 1}"], **kind) for j in range(10)]
        body.append(node("Identity", ["t10"], ["y"]))
        functions.append(helper.make_function("own", f"F{i}", ["x"], ["y"], body, domains))
    return graph([node("F8", ["image"], ["logits"], domain="own")], functions=functions)


def claiming(location: str = "") -> bytes:
    """A constant of 14 GB, or one that lies in another file."""
    tensor = onnx.TensorProto(name="big", data_type=1, dims=[60_000, 60_000])
    if location:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
    return graph(added(), [tensor])


def sparse() -> bytes:
    values, place = constant("big", [1.0]), constant("place", [0], np.int64)
    tensor = helper.make_sparse_tensor(values, place, [60_000, 60_000])
    return graph(added(), inner={"sparse_initializer": [tensor]})


def graphs() -> dict[str, Callable[[], bytes]]:
    def shape(*sides: int) -> list[TensorProto]:
        return [constant("shape", sides, np.int64)]

    def fill(name: str = "big") -> Any:
        return node("ConstantOfShape", ["shape"], [name])

    def product(count: int) -> list[Any]:
        return [fill("big0"), *(node("MatMul", [f"big{i}"] * 2, [f"big{i + 1}"]) for i in range(count))]

    def negated(count: int) -> bytes:
        names = ["image", *(f"{i:x}" for i in range(count - 1)), "logits"]
        return graph([node("Neg", [a], [b]) for a, b in pairwise(names)])

    return {
        "constant of shape": lambda: graph(added(fill()), shape(60_000, 60_000)),
        "expand": lambda: graph(
            added(node("Expand", ["x", "shape"], ["big"])), [constant("x", 1), *shape(60_000, 60_000)]
        ),
        "tile": lambda: graph(added(node("Tile", ["x", "shape"], ["big"])), [constant("x", [1]), *shape(2 * 10**9)]),
        "sums of a row and a column": lambda: graph(
            added(node("Add", ["x", "y"], ["big"])),
            [constant("x", [[1] * 16_000]), constant("y", [[1]] * 16_000)],
        ),
        "products": lambda: graph(
            [*product(20), *added(node("Identity", ["big20"], ["big"]))], shape(8000, 8000)
        ),
        "doubled": lambda: graph(
            [node("Concat", [f"x{i}"] * 10, [f"x{i + 1}"], axis=0) for i in range(9)]
            + added(node("Identity", ["x9"], ["big"])),
            [constant("x0", [1, 1])],
        ),
        "functions": laughing_functions,
        "sparse": sparse,
        "claims": claiming,
        "another file": lambda: claiming("/dev/zero"),
        "nodes": lambda: negated(50_000),
        "most nodes": lambda: negated(30_000),
        "two inputs": lambda: graph([node("Add", ["image", "image1"], ["logits"])], facts=True, takes=2),
        "cut": lambda: graph(added(fill()), shape(1, 1))[:-5],
        "nothing": lambda: b"",
        "noise": lambda: np.random.default_rng(0).bytes(10**6),
    }  # fmt: skip


def read(folder: Path) -> None:
    OnnxEngine(folder / "model.onnx")


def hostile_graphs() -> Iterator[tuple[str, tuple[Callable[[Path], object], Callable[[Path], object]]]]:
    """What makes each file, below a folder, and what reads it."""
    for name, content in graphs().items():

        def make(folder: Path, content: Callable[[], bytes] = content) -> None:
            (folder / "model.onnx").write_bytes(content())

        yield f"onnx {name}", (make, read)
