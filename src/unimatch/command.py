"""What the Hydra commands share: their start, how objects are built from the configuration, errors as one message."""

import argparse
import errno
import functools
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException, HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from unimatch.errors import ConfigError, UnimatchError
from unimatch.options import did_you_mean

CONFIG_MODULE = "unimatch.conf"
ADDED_GROUPS = ("experiment",)
"""Groups of which nothing is chosen by default: given as ``+experiment=table01``."""

NODES = ("dataset", "datamodule", "method", "model", "inference", "trainer", "checkpoint", "guard", "logger")
"""Nodes of a configuration whose keys are arguments of Python objects."""

SET_BY_COMMANDS = {
    "callbacks": "add an entry to the group: +callbacks.NAME._target_=CLASS",
    "logger": "choose logger=csv, tensorboard or wandb, or give a node of your own",
    "default_root_dir": "choose hydra.run.dir",
    "enable_checkpointing": "unimatch.run always writes checkpoints, see checkpoint.KEY",
    "enable_model_summary": "the log names the model's parts",
    "enable_progress_bar": "callbacks.progress=null trains without the bar",
    "plugins": "one is always given, which writes checkpoints safely",
}
"""Arguments that a command passes itself, and what to do instead of giving them."""


def command(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Makes a function of a configuration a command, like ``hydra.main`` but with errors a user can act on.

    A mistyped group or key is named with the closest real one, and the process ends with status 2; so does any
    :class:`UnimatchError`, without a traceback.

    ``config_name`` is the primary configuration in ``conf/``, without ``.yaml``.
    """

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(task)
        def run(config: DictConfig) -> Any:
            with exit_on_user_error(config):
                return task(config)

        def main() -> None:
            hide_bases()
            sys.argv[1:] = [quote_fractions(argument) for argument in sys.argv[1:]]
            with exit_on_user_error():
                refuse_pickles(sys.argv[1:])
                check_installed()
                config_folder(sys.argv[1:])
                check_output_folder(sys.argv[1:])
                if {"-m", "--multirun"} & set(sys.argv):  # Hydra makes the sweep's folder before it looks at all jobs
                    check_overrides(config_name, sys.argv[1:])
            traceback_wanted = os.environ.get("HYDRA_FULL_ERROR", "0")
            os.environ["HYDRA_FULL_ERROR"] = "1"  # or Hydra would print what failed and exit before it is explained
            try:
                hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=config_name)(run)()
            except CompactHydraException as error:
                with exit_on_user_error():
                    check_overrides(config_name, sys.argv[1:])
                if traceback_wanted == "1":
                    raise
                sys.exit(f"{error}\n{error.__cause__ or ''}\nHYDRA_FULL_ERROR=1 shows where in the code")
            finally:
                os.environ["HYDRA_FULL_ERROR"] = traceback_wanted

        return main

    return decorate


def build(node: DictConfig, *arguments: Any, **options: Any) -> Any:
    """Makes the object that a node describes, with objects as further arguments (Hydra takes those for configuration).

    An error that begins with the name of one of the node's keys gets the key's full name: ``method.tau=2: ...``.
    A node that does not say what it is, or gives an argument that the command passes itself, is refused.
    """
    key = node._get_full_key(None)
    if "_target_" not in node:
        raise ConfigError(f"{key}._target_: missing; a task's file (conf/task/) names its model, task and data module")
    for name in options.keys() & node.keys() & SET_BY_COMMANDS.keys():
        raise ConfigError(f"{key}.{name}: set by the command; {SET_BY_COMMANDS[name]}")
    try:
        return instantiate(node, _partial_=True)(*arguments, **options)
    except (UnimatchError, InstantiationException) as error:
        cause = user_error_in(error)
        if cause is None:
            raise
        cause.args = (with_key(str(cause), node, key + "."),)
        raise cause from None


def with_key(message: str, node: DictConfig, prefix: str = "") -> str:
    """Gives the argument that a message begins with the full name of its key.

    Where several keys of the configuration have that name, or none, the message stays as it is.

    >>> config = OmegaConf.create({"seed": 0, "method": {"tau": 2, "seed": 0}, "encoder": {"name": "tiny"}})
    >>> with_key("tau=2: must be a probability", config)
    'method.tau=2: must be a probability'
    >>> with_key("seed=-1: must be at least 0", config)
    'seed=-1: must be at least 0'
    >>> with_key("tau=2: must be a probability", config.method, "method.")
    'method.tau=2: must be a probability'
    """
    name = re.match(r"(\w+)[=:]", message)
    if name is None or (not prefix and name[1] in node):
        return message
    keys = [key for key in flat_keys(node, prefix) if key.rpartition(".")[2] == name[1]]
    keys = [key for key in keys if prefix or key.startswith(NODES)]
    nearest = [key for key in keys if key.count(".") == min(key.count(".") for key in keys)]
    return nearest[0].removesuffix(name[1]) + message if len(nearest) == 1 else message


def plain(config: DictConfig) -> dict[str, Any]:
    """Returns a configuration as dicts, lists and scalars, with interpolations resolved."""
    return {str(key): value for key, value in OmegaConf.to_container(config, resolve=True).items()}  # type: ignore[union-attr]


def quiet_libraries() -> None:
    """Silences messages that are no news to the user: each with its reason."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # tips and device lists
    for message in (
        ".*in eval mode at the start of training.*",  # the teacher, on purpose
        ".*sync_dist=True.*",  # scores are computed from counts that are already those of all processes
        ".*does not have many workers.*",
        ".*Experiment logs directory .* exists.*",  # Hydra has made the run directory
        ".*LeafSpec.*is deprecated.*",  # Lightning's, on recent torch
        ".*your dataloader is not resumable.*",  # ours is: the sampler leaves out what is done
        ".*The number of training batches .* is smaller than the logging interval.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def quote_fractions(argument: str) -> str:
    """Quotes fractions such as ``1_16`` in ``KEY.split=1_16,1_8``: Hydra would read the whole number 116.

    >>> quote_fractions("dataset.split=1_16,all")
    "dataset.split='1_16',all"
    """
    key, equals, value = argument.partition("=")
    quoted = re.sub(r"(?<![\w'\"])\d+_\d+(?![\w'\"])", r"'\g<0>'", value)
    return key + equals + quoted if key.endswith("split") else argument


@contextmanager
def exit_on_user_error(config: DictConfig | None = None) -> Iterator[None]:
    """Prints a :class:`UnimatchError`, also one that Hydra's ``instantiate`` has wrapped, and exits with its status.

    The argument that the message begins with is looked up in ``config``.
    """
    try:
        yield
    except (UnimatchError, InstantiationException, OSError) as error:
        cause = user_error_in(error)
        if cause is None:
            raise
        message = message_of(cause)
        print(f"unimatch: {message if config is None else with_key(message, config)}", file=sys.stderr)
        sys.exit(cause.status)


def user_error_in(error: BaseException | None) -> UnimatchError | None:
    """Returns the error of ours that Hydra has wrapped, if it is one; a file's name that is too long becomes one."""
    while isinstance(error, InstantiationException):
        error = error.__cause__
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return ConfigError(f"{str(error.filename)[:60]}...: a name that is too long for a file or folder")
    return error if isinstance(error, UnimatchError) else None


def message_of(error: UnimatchError) -> str:
    """Returns an error's message; torch puts a traceback before one from a loading process, which is left out."""
    text = str(error)
    return text.rpartition(f"{type(error).__name__}: ")[2] if text.startswith("Caught ") else text


def check_installed() -> None:
    """Refuses to start without the configuration: a checkout's ``src`` on the search path alone does not hold it."""
    if find_spec(CONFIG_MODULE) is None:
        raise ConfigError(
            f"the configuration, {CONFIG_MODULE}, is missing: the package is imported from {Path(__file__).parent} "
            "but is not installed; run `pip install -e .` in the checkout, or `pip install --no-deps -e .` where the "
            "dependencies are there"
        )


def check_output_folder(arguments: list[str]) -> None:
    """Refuses an output folder on the command line that Hydra will not be able to make."""
    for text in arguments:
        key, _, value = text.partition("=")
        if key in ("hydra.run.dir", "hydra.sweep.dir") and "${" not in value:
            folder = Path(value.strip("'\"")).absolute()
            there = next(parent for parent in (folder, *folder.parents) if parent.exists())
            if not there.is_dir():
                raise ConfigError(f"{text}: {there} is a file")
            if not os.access(there, os.W_OK | os.X_OK):
                raise ConfigError(f"{text}: {there} cannot be written to; choose another {key}")


def refuse_pickles(arguments: list[str]) -> None:
    """Refuses Hydra's ``--experimental-rerun``, also abbreviated: unpickling a file runs whatever it says."""
    for text in arguments:
        flag = text.partition("=")[0]
        if len(flag) > 3 and "--experimental-rerun".startswith(flag):
            raise ConfigError(f"{flag}: would run code out of a pickle file; give the settings themselves")


def check_overrides(config_name: str, arguments: list[str]) -> None:
    """Refuses a ``KEY=VALUE`` that names no group, option or key of a configuration, and names the closest real one.

    Flags are left to Hydra, but for ``--config-dir``, a folder of further groups and options.
    """
    folder = config_folder(arguments)
    search = [] if folder is None else [f"hydra.searchpath=['file://{folder}']"]
    texts = [text for text in arguments if "=" in text and not text.startswith("-")]
    try:
        overrides = OverridesParser.create().parse_overrides(texts)
    except HydraException as error:
        raise ConfigError(str(error)) from error
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
        for option in [] if override.is_delete() else values(override):
            if option not in options:
                meant = f"{did_you_mean(option, options)}. There are: {', '.join(options)}"
                raise ConfigError(f"{group}={option}: no such {group}{meant}")
        if group in ADDED_GROUPS and not override.is_add():
            raise ConfigError(f"{given}: nothing is chosen by default; write +{given}")
    known = known_keys(config_name, [o for o in overrides if o.key_or_group in groups and not o.is_delete()], search)
    for override in overrides:
        key = override.key_or_group
        changed = not (override.is_add() or override.is_force_add() or override.is_delete())
        if changed and key not in groups and key not in known and not key.startswith("hydra"):
            node = key.rpartition(".")[0]
            beside = [name.rpartition(".")[2] for name in known if name.startswith(node + ".")]
            there = f" ({node} has: {', '.join(beside)})" if beside else ""
            raise ConfigError(f"{key}: no such key{did_you_mean(key, [*known, *groups])}{there}")


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


@functools.cache
def hide_bases() -> None:
    """Makes Hydra's help and completion list our configuration without the bases; once, in place.

    A class of our own in Hydra's registry would not reach the jobs of a launcher such as submitit's.
    """
    Plugins.instance()  # registers Hydra's own sources
    source = SourcesRegistry.instance().types["pkg"]
    listed = source.list

    def options_only(*arguments: Any, **options: Any) -> list[str]:
        return [name for name in listed(*arguments, **options) if not name.startswith("_")]

    source.list = options_only  # type: ignore[method-assign]


def keys_of(command: str) -> str:
    """Lists a command's keys with the comments beside them, for its help: ``${keys:check}``.

    >>> keys_of("check").splitlines()[0]
    '  workers  processes; null: one per core'
    """
    text = (files(CONFIG_MODULE) / f"{command}.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^(\w+): .*? # (.*)$", text, re.MULTILINE)
    width = max(len(key) for key, _ in found)
    return "\n".join(f"  {key:<{width}}  {comment}" for key, comment in found)


OmegaConf.register_new_resolver("keys", keys_of, replace=True)


def known_keys(config_name: str, choices: list[Override], search: list[str]) -> list[str]:
    """Returns every key of the configuration under the chosen options; of a sweep's options, the keys of each."""
    keys: dict[str, None] = {}
    given = [
        [f"{'+' if choice.is_add() else ''}{choice.key_or_group}={value}" for value in values(choice)]
        for choice in choices
    ]
    first = [texts[0] for texts in given]
    variants = [text for texts in given for text in texts[1:]]
    with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        for overrides in (first, *([*first, variant] for variant in variants)):
            keys.update(dict.fromkeys(flat_keys(hydra.compose(config_name, [*search, *overrides]))))
    return list(keys)


def flat_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Yields ``a``, ``a.b``, ... for every key of a nested configuration."""
    if OmegaConf.is_dict(config):
        for key in config:
            yield f"{prefix}{key}"
            if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
                yield from flat_keys(config[key], f"{prefix}{key}.")


def values(override: Override) -> list[str]:
    """Returns the values of an override, several where it is a sweep."""
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [str(override.value())]
