"""The options of data sets: each is one entry in Python and one key in YAML."""

import inspect
from importlib.resources import files
from typing import get_type_hints

import pytest
import yaml

import unimatch.data
from unimatch.data.sets.change import ChangeOptions
from unimatch.data.sets.image_folder import ClassFolderOptions
from unimatch.data.sets.segmentation import MaskOptions
from unimatch.data.splits.labeled import SelectionOptions
from unimatch.data.splits.per_class import PerClassOptions

FILES = {
    "_files": (SelectionOptions, "ade20k camvid change_folder cityscapes coco folder levir pascal whu"),
    "_segmentation": (MaskOptions, "ade20k camvid cityscapes coco folder pascal"),
    "_change": (ChangeOptions, "change_folder levir whu"),
    "_classification": (PerClassOptions, "cifar10 digits_classification image_folder imagenet stl10 svhn"),
    "_class_folders": (ClassFolderOptions, "image_folder imagenet"),
}


def keys(base: str) -> dict:
    """The keys that a base file and those it names set in ``dataset``, with their values."""
    content = yaml.safe_load((files("unimatch.conf") / "dataset" / f"{base}.yaml").read_text())
    bases = [name for name in content.pop("defaults", ()) if name in ("_pixels", *FILES)]
    own = content.get("dataset", content)  # some files are of that package
    return {key: value for name in bases for key, value in keys(name).items()} | own


@pytest.mark.parametrize("base", FILES)
def test_every_option_has_a_key_with_its_default(base):
    options, _ = FILES[base]
    defaults = {name: hint.__metadata__[0] for name, hint in get_type_hints(options, include_extras=True).items()}
    defaults.pop("allow_missing", None)  # of the full check alone
    found = keys(base)
    found.pop("root", None)
    assert found == defaults


@pytest.mark.parametrize("base", FILES)
def test_every_data_set_takes_the_options_of_its_file(base):
    options, names = FILES[base]
    for name in names.split():
        function = getattr(unimatch.data, name)
        assert set(get_type_hints(options)) <= set(inspect.signature(function).parameters), name
