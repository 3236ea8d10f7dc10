import inspect
from dataclasses import FrozenInstanceError

import pytest

import unimatch
from unimatch.types import HasNeeds, Needs, takes_options_of


def parent(a, *, b=1, c=2):
    return a, b, c


def test_options_of_another_function_are_listed():
    @takes_options_of(parent)
    def child(x, *, c=5, **options):
        return x, c, options

    assert str(inspect.signature(child)) == "(x, *, c=5, b=1)"
    assert child(1, b=3) == (1, 5, {"b": 3})


def test_a_model_lists_the_options_of_all_models():
    listed = inspect.signature(unimatch.SegmentationModel).parameters
    assert {"lora", "freeze"} <= set(listed)
    assert not any(p.kind is p.VAR_KEYWORD for p in listed.values())


def test_methods_say_what_they_need_and_cannot_be_told_otherwise():
    class Module:
        needs = Needs(strong_views=1)

    assert isinstance(Module(), HasNeeds)
    assert not isinstance(object(), HasNeeds)
    with pytest.raises(FrozenInstanceError):
        Module.needs.strong_views = 2
