import json
from dataclasses import replace
from pathlib import Path

import pytest

from unimatch import Inference, WeightsError
from unimatch.engines.model_facts import ModelFacts, facts_path, inference_with
from unimatch.errors import ConfigError

FACTS = ModelFacts(
    classes=("sky", 'a "b" <c>'),
    palette=((0, 1, 2), (255, 254, 253)),
    mean=(0.1, 0.2, 0.3),
    std=(1.0, 2.0, 3.0),
    size_multiple=14,
    inference=Inference("sliding", window=28, stride=7, scales=(0.5, 1.0), flip=True, large=10),
    dates=2,
)


def test_text_holds_all_of_it():
    assert ModelFacts.from_json(FACTS.to_json(), "here") == FACTS


def test_files_from_before_change_detection_are_of_one_date():
    values = json.loads(FACTS.to_json())
    del values["dates"]
    assert ModelFacts.from_json(json.dumps(values), "here") == replace(FACTS, dates=1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", None), ("palette", [[1]]), ("mean", 1.5), ("std", ["a"]), ("size_multiple", None),
        ("inference", {"mode": "slide"}), ("inference", {"windows": 3}), ("inference", [1]), ("inference", "ab"),
        ("inference", {"window": 20.5}), ("inference", {"window": 1}), ("inference", {"window": 10**6}),
        ("inference", {"mode": "sliding", "window": 4096, "stride": 1}), ("inference", {"large": 10**12}),
        ("inference", {"scales": [3000]}), ("inference", {"scales": [1.0] * 10**4}), ("inference", {"scales": "abc"}),
        ("inference", {"scales": [1e-9]}), ("inference", {"scales": [float("nan")]}), ("inference", {"scales": 1}),
        ("inference", {"window": 8000, "scales": [4]}), ("size_multiple", 0), ("size_multiple", 10**6), ("dates", 9),
        ("classes", []), ("classes", ["one"]), ("classes", "ab"), ("palette", [[0, 1, 256]] * 2), ("palette", 3),
        ("palette", [[0, 1, -1]] * 2), ("std", [0, 1, 1]), ("mean", [float("inf")] * 3), ("mean", [0, 0]),
    ],
)  # fmt: skip
def test_what_is_not_that_is_refused_with_the_file(key, value):
    values = {**json.loads(FACTS.to_json()), key: value}
    with pytest.raises(WeightsError, match=r"model\.onnx: does not hold"):
        ModelFacts.from_json(json.dumps(values), "model.onnx")
    with pytest.raises(WeightsError, match=r"model\.onnx"):
        ModelFacts.from_json("no json", "model.onnx")


def test_settings_that_are_given_replace_those_of_the_run():
    changed = inference_with(FACTS.inference, {"window": 70, "stride": None, "flip": False})
    assert changed == replace(FACTS.inference, window=70, flip=False)
    assert facts_path(Path("a/model.onnx")) == Path("a/model.onnx.json")


def test_a_setting_of_inference_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"^inference\.foo: no such setting"):
        inference_with(FACTS.inference, {"foo": 1})
