"""What may stand on the command line: groups, options and keys, and which one was meant by a wrong one."""

import argparse
import functools
import re
from collections.abc import Collection, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from unimatch.cli.arguments import fits, kinds, written
from unimatch.cli.as_typed import is_sweep, unread
from unimatch.errors import ConfigError, first_line
from unimatch.options import did_you_mean

CONFIG_MODULE = "unimatch.conf"
ADDED_GROUPS = ("experiment",)
"""Groups of which nothing is chosen by default: given as ``+experiment=table01``."""


def check_overrides(config_name: str, arguments: list[str]) -> None:
    """Refuses a ``KEY=VALUE`` that names no group, option or key of a configuration, and names the closest real one.

    Flags are left to Hydra, but for ``--config-dir``, a folder of further groups and options.
    """
    folder = config_folder(arguments)
    search = [] if folder is None else [f"hydra.searchpath=['file://{folder}']"]
    texts = [text for text in arguments if "=" in text and not text.startswith("-")]
    overrides = list[Override]()
    for text in texts:
        try:
            overrides += OverridesParser.create().parse_overrides([text])
        except HydraException as error:
            raise ConfigError(unread(text, error)) from error
    groups = config_groups(folder)
    with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        chosen = hydra.compose(config_name, return_hydra_config=True).hydra.runtime.choices
    for override in overrides:
        group, given = override.key_or_group, override.input_line
        if group not in groups:
            continue
        options = groups[group]
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
                own = "" if folder else f". A file of your own, FOLDER/{group}/{option}.yaml, needs --config-dir FOLDER"
                raise ConfigError(f"{group}={option}: no such {group}{meant} There are: {', '.join(options)}{own}")
        if group in ADDED_GROUPS and not override.is_add():
            raise ConfigError(f"{given}: nothing is chosen by default; write +{given}")
    known = known_keys(config_name, [o for o in overrides if o.key_or_group in groups and not o.is_delete()], search)
    for override in overrides:
        key = override.key_or_group
        changed = not (override.is_add() or override.is_force_add() or override.is_delete())
        if changed and key not in groups and key not in known and not key.startswith("hydra"):
            node, _, name = key.rpartition(".")
            if node in known and not any(other.startswith(f"{node}.") for other in known):
                raise ConfigError(
                    f"{key}: {node} is one value, without keys; for an object, write '{node}={{{name}: ...}}'"
                )
            beside = [name.rpartition(".")[2] for name in known if name.startswith(node + ".")]
            there = f" ({node} has: {', '.join(beside)})" if beside else ""
            meant = meant_key(key, known) or did_you_mean(key, known if node else [*known, *groups])
            message = f"{key}: no such key{meant}{there}"
            raise ConfigError(of_a_sweep(message) if is_sweep(arguments) else message)


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
"""What other programs call a setting, and what it is called here."""


def meant_key(key: str, known: Collection[str]) -> str:
    """Returns ``; did you mean ...?`` for a key of another program or of another node; nothing if there is none."""
    name = key.rpartition(".")[2]
    same = [other for other in known if other.rpartition(".")[2] == name and not other.startswith("recipe.")]
    meant = [other for other in [SYNONYMS.get(name, "")] if other in (*known, "hydra.run.dir")] or same
    return f"; did you mean {meant[0]}?" if meant else ""


def of_a_sweep(message: str) -> str:
    """Names a sweep's folder in a message that names a run's, which a sweep does not read."""
    return message.replace("hydra.run.dir", "hydra.sweep.dir")


def of_timm(encoder: str) -> str:
    """Returns how to choose an encoder that is no option, if timm has it; else nothing."""
    import timm  # takes a while, and is only needed where something was wrong

    return f"; it is a model of timm: encoder=timm encoder.name={encoder}." if timm.is_model(encoder) else ""


def config_folder(arguments: list[str]) -> Path | None:
    """Returns the folder of configurations that the command line adds to ours: ``--config-dir FOLDER``."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config-dir", "-cd")
    given = parser.parse_known_args(arguments)[0].config_dir
    if given is None:
        return None
    if not Path(given).is_dir():
        raise ConfigError(f"--config-dir {given}: no such folder")
    return Path(given).absolute()


def config_groups(added: Path | None = None) -> dict[str, list[str]]:
    """Returns the groups and their options, from the files in ``conf/`` and in a folder like it.

    A file whose name begins with ``_`` is no option, but a base of others.
    """
    groups: dict[str, set[str]] = {}
    for place in (files(CONFIG_MODULE), *([added] if added else [])):
        for folder in place.iterdir():
            if folder.is_dir() and not folder.name.startswith(("_", ".")):
                names = {file.name for file in folder.iterdir() if re.fullmatch(r"[^_].*\.yaml", file.name)}
                groups.setdefault(folder.name, set()).update(name.removesuffix(".yaml") for name in names)
    return {name: sorted(groups[name]) for name in sorted(groups)}


def known_keys(config_name: str, choices: list[Override], search: list[str]) -> list[str]:
    """Returns every key of the configuration under the chosen options; of a sweep's options, the keys of each.

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
            except YAMLError as error:  # of a file of the user's own
                raise ConfigError(" ".join(str(error).split())) from error
            except HydraException as error:
                raise ConfigError(f"{first_line(error)} (composing {' '.join(overrides)})") from error
            keys.update(dict.fromkeys(flat_keys(config)))
    return list(keys)


def flat_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Yields ``a``, ``a.b``, ... for every key of a nested configuration."""
    if OmegaConf.is_dict(config):
        for key in config:
            yield f"{prefix}{key}"
            if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
                yield from flat_keys(config[key], f"{prefix}{key}.")


def values(override: Override) -> list[str]:
    """Returns the values of an override, several where it is a sweep; of an interval its ends."""
    if override.is_interval_sweep():
        interval: Any = override.value()
        return [str(interval.start), str(interval.end)]  # whole ones only by int(interval(...)), also for a sweeper
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        pattern: Any = override.value()
        return pattern.filter(config_groups().get(override.key_or_group, []))
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [str(override.value())]


def check_settings(config: DictConfig, command: str) -> None:
    """Refuses a command's own settings that are of the wrong kind: ``overwrite=no`` is text, and would be true."""
    for key, default in own_settings(command).items():
        hint: Any = type(default) if isinstance(default, (int, float, list)) else Any
        if default in (None, "???"):
            hint = WITHOUT_DEFAULT.get(f"{command}.{key}", WITHOUT_DEFAULT.get(key, Any))
        check_kind(config, key, hint)
    check_seeds(config)


def check_seeds(config: DictConfig) -> None:
    """Refuses seeds that no generator takes; those of objects that are not ours are left to them."""
    for key in flat_keys(config):
        node, _, name = key.rpartition(".")
        ours = str(OmegaConf.select(config, f"{node}._target_", default="unimatch.")).startswith("unimatch.")
        seed = OmegaConf.select(config, key) if name.endswith("seed") and ours else 0
        if fits(seed, int) and not 0 <= seed < 2**32:  # of NumPy's generators
            raise ConfigError(f"{key}={seed}: must be at least 0 and below {2**32}")


def check_kind(config: DictConfig, key: str, hint: Any) -> None:
    """Refuses a setting, by its full name, whose value is not of the kind that a type hint says."""
    if hint is not Any and not fits(value := OmegaConf.select(config, key, throw_on_missing=True), hint):
        write = f"; write {key}=[{value}]" if hint is list else ""
        if fits("", hint) and not fits([], hint) and OmegaConf.is_list(value):
            write = "; give one alone"
        raise ConfigError(f"{key}={written(value)}: must be {' or '.join(kinds(hint))}{write}")


WITHOUT_DEFAULT = {
    "n": int,
    **dict.fromkeys(("workers", "batch_size", "batch", "votes"), int | None),
    **dict.fromkeys(("threshold", "plan_memory"), float | None),
    **dict.fromkeys(("checkpoint", "input"), str),
    **dict.fromkeys(("predict.checkpoint", "round.checkpoint"), str | list),
    **dict.fromkeys(("output", "out", "from", "to", "source", "images", "given", "group", "features"), str | None),
    **dict.fromkeys(("scores", "resume", "start_from"), str | None),
}
"""Of which kind settings are that must be given, or are null unless they are; of one command or of all."""


def refuse_unread(config: DictConfig, command: str) -> None:
    """Refuses keys that were added to a configuration, on the command line or in a file, and that nothing reads.

    Where a node is the arguments of an object, that object refuses them; so this is about the other nodes. A key of
    one's own to which others refer, ``${mine}``, is read.
    """
    own, nodes, read = own_settings(command), ("encoder", "recipe"), read_by_ours()
    if command in ("select", "round"):  # they build no training, and read what their own file has of these
        nodes = ("dataset", "encoder")
        read = {f"{node}.{key}" for node in nodes for key in own[node]}
    of_run = {key for key, value in own_settings("run").items() if isinstance(value, dict)}  # data sets fill in some
    known = {*own, *of_run, *config_groups(), "inference", "task"}
    for group, place in PACKAGES.items():
        if config.get(group) is not None:
            raise ConfigError(
                f"{group}: nothing reads this node; begin your file of the group {group} with '# @package {place}'"
            )
    keys = [str(key) for key in config if key not in known]
    keys += [f"{node}.{key}" for node in nodes for key in config.get(node) or ()]
    referred_to = set(re.findall(REFERENCE, OmegaConf.to_yaml(config)))
    for key in keys:
        if key not in referred_to and key not in read:
            meant = meant_key(key, SYNONYMS.values()) or did_you_mean(key, [*known, *(k for k in read if "." in k)])
            raise ConfigError(f"{key}: nothing reads this key{meant}")


def refuse_of_training(arguments: Collection[str], command: str) -> None:
    """Refuses what a command line gives another command than ``run`` for a node that only a training reads.

    Data sets fill in such nodes, so that they may well be in the configuration.
    """
    nodes = {key for key, value in own_settings("run").items() if isinstance(value, dict)} | {*config_groups()}
    nodes -= {*own_settings(command), "inference", "dataset", "recipe" if command == "check" else ""}
    for text in arguments:
        key = text.lstrip("+").partition("=")[0]
        if command != "run" and key.partition(".")[0] in nodes:
            raise ConfigError(f"{text}: a setting of trainings, which unimatch.{command} does not read; leave it out")


def refuse_idle(arguments: Collection[str], config: DictConfig) -> None:
    """Refuses settings that are not read with what else is chosen.

    Those are of a callback that is left out (``callbacks=none``), of windows and scales where an image has one class,
    and of changes that the chosen views do not make.
    """
    referred_to = set(re.findall(REFERENCE, OmegaConf.to_yaml(config)))
    entries = (OmegaConf.to_container(config.callbacks, resolve=False) or {}).values()  # type: ignore[union-attr]
    for text in arguments:
        key = text.lstrip("+").partition("=")[0]
        node = key.partition(".")[0]
        if node in ("guard", "checkpoint") and f"${{{node}}}" not in entries:
            raise ConfigError(f"{text}: nothing reads this: callbacks has no entry for it; choose callbacks=default")
        if node == "inference" and "inference" not in config.task:
            raise ConfigError(f"{text}: nothing reads this: the task sees each image once and whole; leave it out")
        if key in OF_VIEWS and key not in referred_to:
            raise ConfigError(f"{text}: nothing reads this: the chosen views (weak=, strong=) have no such change")
        if key in OF_COLORS and config.dataset.get("bands") is not None:
            raise ConfigError(f"{text}: nothing reads this: with dataset.bands strong views change no hues or colours")


OF_VIEWS = {f"recipe.{name}" for name in ("scale", "flip", "hue", "grayscale", "blur_sigma", "resize", "padding")}
"""What some weak and strong views take from the recipe, and others do not."""
OF_COLORS = {"recipe.hue", "recipe.grayscale"} | {
    f"datamodule.strong.{name}" for name in ("hue", "saturation", "grayscale_probability")
}
"""What the paper's strong views do to red, green and blue alone."""

PACKAGES = {"strong": "datamodule.strong", "weak": "datamodule.weak", "experiment": "_global_"}
"""The groups whose files fill in another node than their own, and which."""

REFERENCE = r"\$\{(?:oc\.select:)?(?=((?:encoder|recipe)\.\w+|\w+))"
"""How one key refers to another; the group is its first part, or the first two within ``encoder`` and ``recipe``."""


@functools.cache
def read_by_ours() -> set[str]:
    """Returns the keys to which any file of ``conf/`` refers."""
    texts = [file.read_text(encoding="utf-8") for file in Path(str(files(CONFIG_MODULE))).rglob("*.yaml")]
    return {key for text in texts for key in re.findall(REFERENCE, text)}


@functools.cache
def own_settings(command: str) -> dict[str, Any]:
    """Returns the keys that a command's file in ``conf/`` sets by itself, with their values; none without a file."""
    path = files(CONFIG_MODULE) / f"{command}.yaml"
    if not path.is_file():
        return {}
    settings = OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")))
    return {str(key): value for key, value in dict(settings).items() if key != "defaults"}  # type: ignore[arg-type]
