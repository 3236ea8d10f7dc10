"""Refuses settings that nothing reads, which would have no effect."""

import functools
import logging
import re
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unimatch.cli.arguments import written
from unimatch.cli.overrides import CONFIG_MODULE, SYNONYMS, config_groups, meant_key
from unimatch.cli.setting_kinds import own_settings
from unimatch.errors import ConfigError
from unimatch.options import did_you_mean

log = logging.getLogger("unimatch")

PACKAGES = {"strong": "datamodule.strong", "weak": "datamodule.weak", "recipe_for": "recipe", "experiment": "_global_"}
"""The groups whose files fill in another node than one of the group's name, with that node: Hydra's ``@package``."""

REFERENCE = r"\$\{(?:oc\.select:)?(?=((?:encoder|recipe)\.\w+|\w+))"
"""An interpolation. Its group is the first part of the key; within ``encoder`` and ``recipe`` the first two parts."""

SOME_VIEWS = {f"recipe.{name}" for name in ("scale", "flip", "hue", "grayscale", "blur_sigma", "resize", "padding")}
"""Settings that only some weak and strong views take from the recipe."""
PHOTO_VIEWS = {"recipe.hue", "recipe.grayscale"} | {
    f"datamodule.strong.{name}" for name in ("hue", "saturation", "grayscale_probability")
}
"""Settings of what the paper's strong views do to photos of red, green and blue only."""


WITHOUT_EFFECT: dict[str, dict[str, Any]] = {
    "method.ohem_threshold": {"method.criterion": "ce"},
    "method.ohem_min_kept": {"method.criterion": "ce"},
    "method.keep_ratio": {"method.channel_dropout": "none"},
    "method.dropout_at": {"method.channel_dropout": "none"},
    "datamodule.rare_class_crops": {"datamodule.rare_class_temperature": None},
    "inference.window": {"inference.mode": "whole", "inference.large": None},
    "inference.stride": {"inference.mode": "whole", "inference.large": None},
    "plan_memory": {"plan": False},
}
"""Settings of ``run`` that have no effect while others have these values."""


def refuse_unread(config: DictConfig, command: str) -> None:
    """Refuses keys that were added to a configuration, on the command line or in a file, and that nothing reads.

    Where a node holds the arguments of an object, that object refuses unknown ones, so this checks the other nodes. A
    key that the user has added is read if another key refers to it, as ``${mine}``.

    Raises:
        ConfigError: naming the key.
    """
    own, nodes, read = own_settings(command), ("encoder", "recipe"), referred_by_ours()
    if command in ("select", "round"):  # they build no training, and read only what their own files set in these nodes
        nodes = ("dataset", "encoder")
        read = {f"{node}.{key}" for node in nodes for key in own[node]}
    known = {*own, *nodes_of_run(), *config_groups(), "inference", "task"}  # data sets fill in nodes of run
    for group, place in PACKAGES.items():
        if config.get(group) is not None:
            raise ConfigError(
                f"{group}: nothing reads this node; begin your file of the group {group} with '# @package {place}'"
            )
    keys = [str(key) for key in config if key not in known]
    keys += [f"{node}.{key}" for node in nodes for key in config.get(node) or ()]
    referred = referred_keys(OmegaConf.to_yaml(config))
    for key in keys:
        if key not in referred and key not in read:
            meant = meant_key(key, SYNONYMS.values()) or did_you_mean(key, [*known, *(k for k in read if "." in k)])
            raise ConfigError(f"{key}: nothing reads this key{meant}")


def refuse_of_training(arguments: Collection[str], command: str) -> None:
    """Refuses arguments that give another command than ``run`` a setting that only a training reads.

    Such settings may be in the configuration, because data sets fill them in.

    Raises:
        ConfigError: naming the argument.
    """
    if command == "run":
        return
    nodes = nodes_of_run() | {*config_groups()}
    nodes -= {*own_settings(command), "inference", "dataset"}
    if command == "check":
        nodes -= {"recipe"}
    for text in arguments:
        if text.lstrip("+").partition("=")[0].partition(".")[0] in nodes:
            raise ConfigError(f"{text}: a setting of trainings, which unimatch.{command} does not read; leave it out")


def refuse_idle(arguments: Collection[str], config: DictConfig) -> None:
    """Refuses arguments of ``run`` that have no effect with what else is chosen.

    They set a callback that is left out (``callbacks=none``), windows and scales for a task that gives each image one
    class, or changes that the chosen views do not make.

    Raises:
        ConfigError: naming the argument.
    """
    referred = referred_keys(OmegaConf.to_yaml(config))
    entries = (OmegaConf.to_container(config.callbacks, resolve=False) or {}).values()  # type: ignore[union-attr]
    for text in arguments:
        key = text.lstrip("+").partition("=")[0]
        node = key.partition(".")[0]
        if node in ("guard", "checkpoint") and f"${{{node}}}" not in entries:
            raise ConfigError(f"{text}: nothing reads this: callbacks has no entry for it; choose callbacks=default")
        if node == "inference" and "inference" not in config.task:
            raise ConfigError(f"{text}: nothing reads this: the task sees each image once and whole; leave it out")
        if key in SOME_VIEWS and key not in referred:
            raise ConfigError(f"{text}: nothing reads this: the chosen views (weak=, strong=) have no such change")
        if key in PHOTO_VIEWS and config.dataset.get("bands") is not None:
            raise ConfigError(f"{text}: nothing reads this: with dataset.bands strong views change no hues or colours")


def warn_of_idle(arguments: Collection[str], config: DictConfig) -> None:
    """Warns of arguments of ``run`` that have no effect beside others, such as ``method.ohem_min_kept`` without OHEM.

    They are not refused, because a sweep may give them to all of its jobs.
    """
    for text in arguments:
        key = text.lstrip("+").partition("=")[0]
        others = WITHOUT_EFFECT.get(key, {})
        if others and all(OmegaConf.select(config, other) == value for other, value in others.items()):
            reason = " and ".join(f"{other}={written(value)}" for other, value in others.items())
            log.warning("%s: has no effect with %s", text, reason)


def nodes_of_run() -> set[str]:
    """Returns the keys of ``conf/run.yaml`` that hold further keys."""
    return {key for key, value in own_settings("run").items() if isinstance(value, dict)}


def referred_keys(text: str) -> set[str]:
    """Returns the keys to which a configuration's text refers."""
    return set(re.findall(REFERENCE, text))


@functools.cache
def referred_by_ours() -> set[str]:
    """Returns the keys to which any file of ``conf/`` refers."""
    paths = Path(str(files(CONFIG_MODULE))).rglob("*.yaml")
    return {key for path in paths for key in referred_keys(path.read_text(encoding="utf-8"))}
