"""Checks the groups, options and keys on a command line, and names the closest real one for a wrong one."""

import argparse
import re
from collections.abc import Collection, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from yaml import YAMLError

from unimatch.cli.arguments import written
from unimatch.cli.quoting import is_sweep, parse_failure
from unimatch.errors import ConfigError, first_line, in_one_line
from unimatch.options import did_you_mean

CONFIG_MODULE = "unimatch.conf"
ADDED_GROUPS = ("experiment",)
"""Groups without a default option: one is added by ``+experiment=table01``."""

SYNONYMS = {
    "lr": "method.learning_rate",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "steps": "trainer.max_steps",
    "iterations": "trainer.max_steps",
    "wd": "method.weight_decay",
    "bs": "datamodule.batch_size",
    "batch": "datamodule.batch_size",
    "crop_size": "datamodule.crop",
    "image_size": "datamodule.crop",
    "num_workers": "datamodule.workers",
    "gpus": "trainer.devices",
    "amp": "trainer.precision",
    "ema": "method.ema_decay",
    "threshold": "method.tau",
    "conf_thresh": "method.tau",
    "data_root": "dataset.root",
    "pretrained": "encoder.weights",
    "backbone": "encoder.name",
    "output": "hydra.run.dir",
    "out": "hydra.run.dir",
    "output_dir": "hydra.run.dir",
    "save_path": "hydra.run.dir",
}
"""Names that other programs give settings, with the names here."""


def check_overrides(config_name: str, arguments: list[str]) -> None:
    """Refuses a ``KEY=VALUE`` that names no group, option or key of a configuration, and names the closest real one.

    Flags are left to Hydra, except ``--config-dir``, a folder of further groups and options.

    Args:
        config_name: the primary configuration in ``conf/``, without ``.yaml``.
        arguments: the command line.

    Raises:
        ConfigError: naming the argument.
    """
    folder = config_folder(arguments)
    overrides = list[Override]()
    for text in arguments:
        if "=" in text and not text.startswith("-"):
            try:
                overrides += OverridesParser.create().parse_overrides([text])
            except HydraException as error:
                raise ConfigError(parse_failure(text, error)) from error
    groups = config_groups(folder)
    with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        chosen = hydra.compose(config_name, return_hydra_config=True).hydra.runtime.choices
    choices = [override for override in overrides if override.key_or_group in groups]
    for override in choices:
        check_choice(override, groups[override.key_or_group], chosen, own_folder=folder is not None)
    known = known_keys(config_name, [choice for choice in choices if not choice.is_delete()], search_path(folder))
    for override in overrides:
        is_change = not (override.is_add() or override.is_force_add() or override.is_delete())
        if is_change and override.key_or_group not in groups:
            check_key(override.key_or_group, known, groups, sweep=is_sweep(arguments))


def check_choice(override: Override, options: Collection[str], chosen: Collection[str], *, own_folder: bool) -> None:
    """Refuses an option that a group does not have, or a group that the command does not have.

    Args:
        override: of a group.
        options: the group's.
        chosen: the groups of which the command's configuration chooses an option.
        own_folder: whether the user gives a folder of further options.
    """
    group, given = override.key_or_group, override.input_line
    if group not in (*chosen, *ADDED_GROUPS):
        raise ConfigError(
            f"{given}: this command has no group {group}; set its keys, {group}.KEY=VALUE (--help lists them)"
        )
    if override.is_sweep_override() and not values(override):
        raise ConfigError(f"{given}: matches no {group}. There are: {', '.join(options)}")
    for option in [] if override.is_delete() else values(override):
        if option not in options:
            meant = of_timm(option) if group == "encoder" else ""
            meant = meant or did_you_mean(option, options) or "."
            own = f". A file of your own, FOLDER/{group}/{option}.yaml, needs --config-dir FOLDER"
            raise ConfigError(
                f"{group}={option}: no such {group}{meant} There are: {', '.join(options)}{'' if own_folder else own}"
            )
    if group in ADDED_GROUPS and not override.is_add():
        raise ConfigError(f"{given}: nothing is chosen by default; write +{given}")


def check_key(key: str, known: Collection[str], groups: Collection[str], *, sweep: bool) -> None:
    """Refuses to change a key that is not ``known``; Hydra checks its own."""
    if key in known or key.startswith("hydra"):
        return
    node, _, name = key.rpartition(".")
    beside = [other.rpartition(".")[2] for other in known if other.startswith(f"{node}.")]
    if node in known and not beside:
        raise ConfigError(f"{key}: {node} is one value, without keys; for an object, write '{node}={{{name}: ...}}'")
    there = f" ({node} has: {', '.join(beside)})" if beside else ""
    meant = meant_key(key, known) or did_you_mean(key, known if node else [*known, *groups])
    message = f"{key}: no such key{meant}{there}"
    raise ConfigError(of_a_sweep(message) if sweep else message)


def meant_key(key: str, known: Collection[str]) -> str:
    """Returns ``; did you mean ...?`` for a key of another program or of another node, else an empty text."""
    name = key.rpartition(".")[2]
    same = [other for other in known if other.rpartition(".")[2] == name and not other.startswith("recipe.")]
    synonym = SYNONYMS.get(name)
    if synonym == "hydra.run.dir":  # commands that write results have a key of their own for the place
        synonym = next((own for own in ("output", "out") if own in known), synonym)
    meant = [synonym] if synonym in (*known, "hydra.run.dir") else same
    return f"; did you mean {meant[0]}?" if meant else ""


def of_a_sweep(message: str) -> str:
    """Returns a message that names the key of a sweep's folder in place of the key of a run's folder."""
    return message.replace("hydra.run.dir", "hydra.sweep.dir")


def of_timm(encoder: str) -> str:
    """Returns how to choose an encoder that is a model of timm and no option; an empty text for another name."""
    import timm  # imported late: it takes a while, and is needed for this message only

    return f"; it is a model of timm: encoder=timm encoder.name={encoder}." if timm.is_model(encoder) else ""


def config_folder(arguments: list[str]) -> Path | None:
    """Returns the folder of further configurations, ``--config-dir FOLDER``, as an absolute path; None without one.

    Raises:
        ConfigError: there is no such folder.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--cfg", "-c", nargs="?")  # else its short form would be taken for the beginning of -cd
    given = parser.parse_known_args(arguments)[0].config_dir
    if given is None:
        return None
    if not Path(given).is_dir():
        raise ConfigError(f"--config-dir {given}: no such folder")
    return Path(given).absolute()


def search_path(folder: Path | None) -> list[str]:
    """Returns the overrides by which Hydra finds further configurations in a folder."""
    return [] if folder is None else [f"hydra.searchpath=['file://{folder}']"]


def config_groups(added: Path | None = None) -> dict[str, list[str]]:
    """Returns the groups and their options, from the files in ``conf/`` and in an added folder like it.

    A file whose name begins with ``_`` is no option, but a base of other files.
    """
    groups: dict[str, set[str]] = {}
    for place in (files(CONFIG_MODULE), *([added] if added else [])):
        for folder in place.iterdir():
            if folder.is_dir() and not folder.name.startswith(("_", ".")):
                names = {file.name for file in folder.iterdir() if re.fullmatch(r"[^_].*\.yaml", file.name)}
                groups.setdefault(folder.name, set()).update(name.removesuffix(".yaml") for name in names)
    return {name: sorted(groups[name]) for name in sorted(groups)}


def known_keys(config_name: str, choices: list[Override], search: list[str]) -> list[str]:
    """Returns every key that the configuration has with the chosen options.

    Args:
        config_name: the primary configuration.
        choices: of groups; if one has several options, as in a sweep, the keys of each option are returned.
        search: see :func:`search_path`.

    Raises:
        ConfigError: an option cannot be read or composed.
    """
    keys: dict[str, None] = {}
    given = [
        [f"{'+' if choice.is_add() else ''}{choice.key_or_group}={value}" for value in values(choice)]
        for choice in choices
    ]
    first = [texts[0] for texts in given]
    variants = [text for texts in given for text in texts[1:]]
    with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        for overrides in (first, *([*first, variant] for variant in variants)):
            try:
                config = hydra.compose(config_name, [*search, *overrides])
            except (YAMLError, UnicodeDecodeError) as error:
                raise fault_in_file(error) from error
            except HydraException as error:
                raise ConfigError(f"{first_line(error)} (composing {' '.join(overrides)})") from error
            keys.update(dict.fromkeys(flat_keys(config)))
    return list(keys)


def flat_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Yields the full name of every key of a nested configuration: ``a``, ``a.b``, ..."""
    if OmegaConf.is_dict(config):
        for key in config:
            yield f"{prefix}{key}"
            if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
                yield from flat_keys(config[key], f"{prefix}{key}.")


def values(override: Override) -> list[str]:
    """Returns the value of an override as text; of a sweep all its values, of an interval both ends."""
    if override.is_interval_sweep():
        interval: Any = override.value()
        return [str(interval.start), str(interval.end)]  # floats, unless int(interval(...)) is written
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        pattern: Any = override.value()
        return pattern.filter(config_groups().get(override.key_or_group, []))
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [str(written(override.value()))]


def fault_in_file(error: YAMLError | UnicodeDecodeError) -> ConfigError:
    """Returns the error to tell of a configuration file of the user's that cannot be read."""
    if isinstance(error, UnicodeDecodeError):  # which does not name the file
        return ConfigError(f"a configuration file is not UTF-8 ({error}); save it as UTF-8")
    return ConfigError(in_one_line(error))
