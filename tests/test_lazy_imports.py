from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["unimatch", "unimatch.data", "unimatch.checkpoints"])
def test_public_names_are_there_and_are_listed(name):
    package = import_module(name)
    for public in package.HOMES:
        assert getattr(package, public) is not None
        assert public in dir(package)
    assert {*package.HOMES} == {*package.__all__} - {"__version__"}
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_a_name_is_the_one_of_its_module():
    from unimatch.data import folder
    from unimatch.data.sets import segmentation

    assert folder is segmentation.folder
