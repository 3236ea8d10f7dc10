import inspect
import os
import subprocess
import sys
from typing import Any, get_type_hints

import pytest

from helpers.places import ROOT
from unimatch import (
    ConfigError,
    FixMatch,
    Method,
    SegmentationModel,
    SemiSupervised,
    Supervised,
    UniMatchV1,
    UniMatchV2,
)
from unimatch.methods.options import CutMixOptions, MethodOptions, PseudoLabelOptions, SemiSupervisedOptions


def arguments(kind):
    """Names and defaults that a class shows."""
    parameters = inspect.signature(kind).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters}


def own(kind):
    """Those that its constructor lists itself."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    }


def test_a_class_shows_its_bases_arguments_with_their_defaults():
    assert arguments(Method) == arguments(Supervised) == own(Method)
    assert arguments(SemiSupervised) == own(Method) | own(SemiSupervised)
    assert arguments(UniMatchV2) == own(Method) | own(SemiSupervised) | own(UniMatchV2)
    assert len(arguments(UniMatchV2)) == 29
    assert list(arguments(UniMatchV2))[:5] == ["model", "channel_dropout", "keep_ratio", "dropout_at", "tau"]


def test_what_a_method_settles_itself_is_no_argument():
    shared = own(Method) | own(SemiSupervised)
    del shared["strong_views"]
    assert arguments(FixMatch) == shared
    assert arguments(UniMatchV1) == shared | own(UniMatchV1)  # with another default for cutmix_partner


@pytest.mark.parametrize(
    ("options", "kinds", "missing"),
    [
        (MethodOptions, [Method], set()),
        (PseudoLabelOptions, [Method, SemiSupervised], {"strong_views", "cutmix_partner"}),
        (CutMixOptions, [Method, SemiSupervised], {"strong_views"}),
        (SemiSupervisedOptions, [Method, SemiSupervised], set()),
    ],
)
def test_the_types_of_options_are_those_of_the_constructors(options, kinds, missing):
    expected: dict[str, Any] = {}
    for kind in kinds:
        hints = get_type_hints(kind.__init__)
        expected |= {name: hints[name] for name in own(kind) if name not in {"model", *missing}}
    assert get_type_hints(options) == expected


@pytest.mark.parametrize("kind", [Supervised, FixMatch, UniMatchV1, UniMatchV2])
def test_a_wrong_keyword_is_refused_with_the_closest_one(kind):
    with pytest.raises(ConfigError, match=rf"^learning_rte=3: {kind.__name__} .* did you mean learning_rate\?$"):
        kind(SegmentationModel("tiny", 2), learning_rte=3)
    with pytest.raises(ConfigError, match=r"no such argument\. There are: model, .*, task$"):
        kind(SegmentationModel("tiny", 2), zzz=3)


def test_a_users_class_has_the_same():
    class Mine(UniMatchV2):
        def __init__(self, model, *, warm_up=3, **options):
            super().__init__(model, tau=0.5, **options)

    class Plain(Supervised):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)

    assert arguments(Mine) == {**arguments(UniMatchV2), "warm_up": 3}
    assert Mine(SegmentationModel("tiny", 2), learning_rate=3.0).learning_rate == 3.0
    with pytest.raises(ConfigError, match=r"^warmup=1: Mine has no such argument; did you mean warm_up\?$"):
        Mine(SegmentationModel("tiny", 2), warmup=1)
    assert Plain(model=SegmentationModel("tiny", 2)).seed == 0


SCRIPT = """
import numpy as np
from unimatch import ClassificationModel, Predictor, SegmentationModel, Supervised, UniMatchV1, UniMatchV2
from unimatch.methods import SemiSupervisedOptions

model = SegmentationModel("tiny", 3)
UniMatchV2(model, tua=0.9)
UniMatchV2(model, tau="high")
UniMatchV1(model, strong_views=2)
Supervised(model, learning_rate=1e-3, optimizer="lion")
UniMatchV2(model, tau=0.9, learning_rate=1e-3, keep_ratio=0.2, task=None)
options: SemiSupervisedOptions = {"tau": 0.9}
reveal_type(UniMatchV2(model, **options).tau)
image = np.zeros((4, 4, 3), np.uint8)
predictor = Predictor("best.ckpt")
reveal_type(predictor(image))
reveal_type(predictor("photo.jpg").mask)
reveal_type(predictor([image, image]))
"""


EXPECTED = [
    """6: error: Unexpected keyword argument "tua" for "UniMatchV2"  [call-arg]""",
    """7: error: Argument "tau" to "UniMatchV2" has incompatible type "str"; expected "float"  [arg-type]""",
    """8: error: Unexpected keyword argument "strong_views" for "UniMatchV1"  [call-arg]""",
    """9: error: Argument "optimizer" to "Supervised" has incompatible type "Literal['lion']"; """
    """expected "Literal['adamw', 'sgd'] | Callable[[list[dict[str, Any]]], Optimizer]"  [arg-type]""",
    """12: note: Revealed type is "float\"""",
    """15: note: Revealed type is "unimatch.inference.predictor.Prediction\"""",
    """17: note: Revealed type is "list[unimatch.inference.predictor.Prediction]\"""",
]


@pytest.mark.nightly
def test_type_checkers_see_every_argument_and_result(tmp_path):
    """Of the package's own lines mypy says nothing where it is installed; here it reads the source."""
    (tmp_path / "script.py").write_text(SCRIPT.lstrip())
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "script.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    text = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    lines = [line.removeprefix("script.py:") for line in text.splitlines() if line.startswith("script.py:")]
    assert [line for line in lines if "defined in" not in line and "ndarray" not in line] == EXPECTED
    assert "ndarray" in lines[-2]  # of the mask
