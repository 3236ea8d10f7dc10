"""Converts what earlier versions wrote: settings that they did not have, or that had other names."""

import re
from typing import Any

IMPLIED_SETTINGS = {
    "dataset.unknown_values": "error",
    "dataset.exif": "turn",
    "dataset.mask_suffix": "",
    "dataset.without_mask": "error",
    "encoder.unlock_after": 0,
    "model.unlock_after": 0,
    "method.thresholds": "fixed",
    "method.dice": 0.0,
    "method.labeled_first": 0.0,
    "datamodule.rare_class_crops": 20,
    "datamodule.evaluation_batch": 1,
    "trainer.parts_at_once": 1,
    "trainer.compile_blocks": False,
    "trainer.compile_losses": False,
    "trainer.compile_mode": "default",
}
"""Settings that older checkpoints do not have, with the values by which today's code does what they did."""

RENAMED = {"unimatch.ClassificationDataModule": "unimatch.SemiSupervisedDataModule"}
"""Names in a ``_target_`` that have changed, from old to new."""

WEAK_VIEWS = {"ScaledCrop": ("scale", "flip"), "PaddedCrop": ("resize", "padding", "flip")}
"""Arguments of the weak views, which were once arguments of the data modules."""


def migrated(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's configuration as today's code would have written it.

    >>> migrated({"dataset": {"_target_": "unimatch.camvid", "root": "there"}})
    {'dataset': {'_target_': 'unimatch.data.camvid', 'root': 'there'}}
    >>> migrated({"datamodule": {"crop": 70, "scale": [0.5, 2.0], "flip": 0.5}})["datamodule"]["weak"]
    {'_target_': 'unimatch.augment.ScaledCrop', 'scale': [0.5, 2.0], 'flip': 0.5}
    """
    config = with_new_names(config)
    module = config.get("datamodule")
    if not isinstance(module, dict):
        return config
    for view, keys in WEAK_VIEWS.items():
        if module.keys() >= {*keys}:
            weak = {"_target_": f"unimatch.augment.{view}", **{key: module[key] for key in keys}}
            others = {key: value for key, value in module.items() if key not in keys}
            return {**config, "datamodule": {"_convert_": "all", **others, "weak": weak}}
    return config


def with_new_names(value: Any) -> Any:
    """Returns nested plain values with every ``_target_`` under its present name."""
    if isinstance(value, list):
        return [with_new_names(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    result = {key: with_new_names(inner) for key, inner in value.items()}
    if isinstance(target := result.get("_target_"), str):
        # Functions of the package itself, which have lower-case names, were data sets.
        target = re.sub(r"^unimatch\.([a-z0-9_]+)$", r"unimatch.data.\1", target)
        result["_target_"] = RENAMED.get(target, target)
    return result
