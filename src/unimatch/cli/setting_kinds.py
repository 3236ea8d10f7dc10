"""Checks that a command's own settings are of the right kind."""

import functools
from importlib.resources import files
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unimatch.cli.arguments import written
from unimatch.cli.overrides import CONFIG_MODULE, flat_keys
from unimatch.errors import ConfigError
from unimatch.kinds import accepted, fits
from unimatch.options import seed_of_numpy

WITHOUT_DEFAULT = {
    "n": int,
    **dict.fromkeys(("workers", "batch_size", "batch", "votes"), int | None),
    **dict.fromkeys(("threshold", "plan_memory"), float | None),
    **dict.fromkeys(("checkpoint", "input"), str),
    **dict.fromkeys(("predict.checkpoint", "round.checkpoint"), str | list),
    **dict.fromkeys(("output", "out", "from", "to", "source", "images", "given", "group", "features"), str | None),
    **dict.fromkeys(("scores", "resume", "start_from", "format", "first_dates", "root", "masks"), str | None),
    **dict.fromkeys(("predict.output", "export.output", "round.to"), str),
}
"""The types of settings whose default is null or ``???``, by ``KEY`` for all commands, or by ``COMMAND.KEY``."""

BESIDE_TEXT = {"background": str | None, "device": str | int}
"""The types of settings whose default is a text and that may be something else too."""

INFERENCE = {"mode": str, "window": int, "stride": int, "scales": list, "flip": bool, "large": int}
"""The types of ``inference.KEY`` of commands that use a trained model, besides null: the model's own."""


def check_settings(config: DictConfig, command: str) -> None:
    """Refuses a command's own settings of the wrong kind: ``overwrite=no`` is a text, which would be true.

    Raises:
        ConfigError: naming the setting and what it must be.
    """
    for key, default in own_settings(command).items():
        hint: Any = type(default) if isinstance(default, (int, float, str, list)) else Any
        if isinstance(default, str) and "${" in default:  # not known before the job begins
            hint = Any
        elif default in (None, "???"):
            hint = WITHOUT_DEFAULT.get(f"{command}.{key}", WITHOUT_DEFAULT.get(key, Any))
        check_kind(config, key, BESIDE_TEXT.get(key, hint))
    if command in ("select", "round"):
        check_kind(config, "dataset.root", str)
    if command != "run" and config.get("inference") is not None:  # in a training the class of the node checks them
        for key, hint in INFERENCE.items():
            check_kind(config, f"inference.{key}", hint | None)
    check_seeds(config)


def check_seeds(config: DictConfig) -> None:
    """Refuses seeds that NumPy's generators do not take; those of classes that are not ours are not checked."""
    for key in flat_keys(config):
        node, _, name = key.rpartition(".")
        ours = str(OmegaConf.select(config, f"{node}._target_", default="unimatch.")).startswith("unimatch.")
        seed = OmegaConf.select(config, key) if name.endswith("seed") and ours else 0
        if fits(seed, int):
            seed_of_numpy(**{key: seed})


def check_kind(config: DictConfig, key: str, hint: Any) -> None:
    """Refuses a setting, given by its full name, whose value does not fit a type hint."""
    if hint is Any:
        return
    value = OmegaConf.select(config, key, throw_on_missing=True)
    if fits(value, hint):
        return
    remedy = f"; write {key}=[{value}]" if hint is list else ""
    if OmegaConf.is_list(value) and fits("", hint) and not fits([], hint):
        remedy = "; give one alone"
    raise ConfigError(f"{key}={written(value)}: must be {accepted(hint)}{remedy}")


@functools.cache
def own_settings(command: str) -> dict[str, Any]:
    """Returns the keys, with their values, that a command's file in ``conf/`` sets itself; none without a file."""
    path = files(CONFIG_MODULE) / f"{command}.yaml"
    if not path.is_file():
        return {}
    settings = OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")))
    return {str(key): value for key, value in dict(settings).items() if key != "defaults"}  # type: ignore[arg-type]
