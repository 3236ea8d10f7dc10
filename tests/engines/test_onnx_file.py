from itertools import pairwise

import numpy as np
import pytest

from helpers.hostile_graphs import graph, graphs, node
from unimatch import WeightsError
from unimatch.engines import onnx_file
from unimatch.engines.onnx import OnnxEngine
from unimatch.engines.onnx_file import check_file, fields


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("functions", "functions, which unimatch writes none of"),
        ("cut", "cut short, or no ONNX"),
        ("nothing", "it is empty"),
        ("noise", "no ONNX"),
    ],
)
def test_what_means_more_than_it_is_is_refused(name, message, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(graphs()[name]())
    with pytest.raises(WeightsError, match=message):
        OnnxEngine(path)


def test_too_many_operations_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "MOST_NODES", 2)
    for count in (2, 3):
        names = ["image", *map(str, range(count - 1)), "logits"]
        nodes = [node("Neg", [a], [b]) for a, b in pairwise(names)]
        (tmp_path / f"{count}.onnx").write_bytes(graph(nodes, facts=True))
    check_file(tmp_path / "2.onnx")
    with pytest.raises(ValueError, match="3 operations, and at most 2 may be"):
        check_file(tmp_path / "3.onnx")


def test_fields_are_found_as_they_were_written(tmp_path):
    content = graph([node("Neg", ["image"], ["logits"])], facts=True)
    found = {number: content[start:stop] for number, (start, stop) in fields(content, 0, len(content))}
    assert {number for number, _ in fields(found[7], 0, len(found[7]))} == {1, 2, 11, 12}
    assert b"size_multiple" in found[14]
    (tmp_path / "model.onnx").write_bytes(content)
    check_file(tmp_path / "model.onnx")


def test_bytes_of_any_kind_are_read_or_a_value_error():
    random = np.random.default_rng(0)
    for _ in range(300):
        content = random.bytes(40)
        try:
            assert all(0 <= start <= stop <= 40 for _, (start, stop) in fields(content, 0, 40))
        except ValueError:
            continue
