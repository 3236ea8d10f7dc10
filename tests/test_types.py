from dataclasses import FrozenInstanceError

import pytest

from unimatch.types import HasNeeds, Needs


def test_methods_say_what_they_need_and_cannot_be_told_otherwise():
    class Module:
        needs = Needs(strong_views=1)

    assert isinstance(Module(), HasNeeds)
    assert not isinstance(object(), HasNeeds)
    with pytest.raises(FrozenInstanceError):
        Module.needs.strong_views = 2
