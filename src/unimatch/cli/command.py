"""What the Hydra commands share: their start, their checks before it, and errors as one message."""

import functools
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, InterpolationToMissingValueError, MissingMandatoryValue
from yaml import YAMLError

from unimatch import starting
from unimatch.cli.as_typed import flags_first, is_sweep, quote_names, quote_numbers, refuse_empty, refuse_several
from unimatch.cli.building import error_to_tell, message_of, with_key
from unimatch.cli.overrides import (
    CONFIG_MODULE,
    check_overrides,
    check_settings,
    config_folder,
    refuse_of_training,
    refuse_unread,
)
from unimatch.disk import unwritable
from unimatch.errors import TRACEBACKS, ConfigError
from unimatch.terminal import print_any_name
from unimatch.texts import printable

LONGEST = 20_000
"""Characters of a message at most: it may quote what a file holds."""


def command(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Makes a function of a configuration a command, like ``hydra.main`` but with errors a user can act on.

    A mistyped group or key is named with the closest real one, and the process ends with status 2; so does any
    :class:`UnimatchError`, without a traceback.

    ``config_name`` is the primary configuration in ``conf/``, without ``.yaml``.
    """

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], None]:
        def main() -> None:
            asked = os.environ.get(TRACEBACKS)
            begun = False

            @functools.wraps(task)
            def run(config: DictConfig) -> Any:
                nonlocal begun
                begun = True
                print_any_name()
                with variable(TRACEBACKS, asked), exit_on_user_error(config):
                    check_config(config, config_name, HydraConfig.get().overrides.task)
                    return task(config)

            starting.done()
            starting.open_streams()
            starting.allow_open_files()
            hide_bases()
            sys.argv[1:] = as_hydra_reads(sys.argv[1:])
            with exit_on_user_error():
                check_arguments(config_name, sys.argv[1:])
            try:
                with variable(TRACEBACKS, "1"):  # or Hydra would print what failed and exit before it is explained
                    hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=config_name)(run)()
            except YAMLError as error:
                with exit_on_user_error():
                    raise ConfigError(" ".join(str(error).split())) from error
            except CompactHydraException as error:
                with exit_on_user_error(), suppress(HydraException):
                    check_overrides(config_name, sys.argv[1:])
                    refuse_several(sys.argv[1:])
                if tracebacks_wanted():
                    raise
                sys.exit(f"{error}\n{error.__cause__ or ''}\n{TRACEBACKS}=1 shows where in the code")
            except OSError as error:
                if begun or error.filename is None:
                    raise
                with exit_on_user_error():  # Hydra makes the run's folder, and writes its own files there
                    told = f"{error.filename}: cannot be made ({error.strerror}); choose another folder"
                    raise unwritable(told, error) from error
            except ValueError as error:
                if not str(error).startswith("Only one of --"):  # Hydra's flags, -m and --cfg together
                    raise
                print(f"unimatch: {error}", file=sys.stderr)
                sys.exit(ConfigError.status)

        return main

    return decorate


def as_hydra_reads(arguments: list[str]) -> list[str]:
    """Returns a command line as Hydra understands it: flags first, names of files and classes in quotes."""
    sweep = is_sweep(arguments)
    return flags_first([quote_numbers(quote_names(argument, sweep=sweep)) for argument in arguments])


def check_arguments(config_name: str, arguments: list[str]) -> None:
    """Refuses what can be refused before Hydra composes a configuration of the arguments."""
    check_here()
    refuse_pickles(arguments)
    refuse_empty(arguments)
    check_installed()
    config_folder(arguments)
    check_output_folder(arguments)
    if is_sweep(arguments):  # Hydra makes the sweep's folder before it looks at all jobs
        check_overrides(config_name, arguments)


def check_config(config: DictConfig, config_name: str, overrides: Collection[str]) -> None:
    """Refuses settings of a wrong kind and those that the command does not read."""
    check_settings(config, config_name)
    refuse_unread(config, config_name)
    refuse_of_training(overrides, config_name)


def tracebacks_wanted() -> bool:
    """Returns whether the user wants the traceback of each error."""
    return os.environ.get(TRACEBACKS) == "1"


@contextmanager
def variable(name: str, value: str | None) -> Iterator[None]:
    """Sets a variable of the environment, or removes it for None, and gives it its former value in the end."""
    former = os.environ.pop(name, None)
    try:
        if value is not None:
            os.environ[name] = value
        yield
    finally:
        os.environ.pop(name, None)
        if former is not None:
            os.environ[name] = former


def quiet_libraries() -> None:
    """Silences messages that are no news to the user: each with its reason."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # tips and device lists
    logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)  # each retry; the error in the end is ours
    for message in (
        ".*in eval mode at the start of training.*",  # the teacher, on purpose
        ".*sync_dist=True.*",  # scores are computed from counts that are already those of all processes
        ".*does not have many workers.*",
        ".*Experiment logs directory .* exists.*",  # Hydra has made the run directory
        ".*LeafSpec.*is deprecated.*",  # Lightning's, on recent torch
        ".*your dataloader is not resumable.*",  # ours is: the sampler leaves out what is done
        ".*The number of training batches .* is smaller than the logging interval.*",
        ".*The `srun` command is available.*",  # on any machine with SLURM; what would harm is refused
    ):
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def exit_on_user_error(config: DictConfig | None = None) -> Iterator[None]:
    """Prints a :class:`UnimatchError`, also one that Hydra's ``instantiate`` has wrapped, and exits with its status.

    A disk without room is told likewise, and what the user's own code raises. The traceback comes before it if the user
    wants tracebacks.

    The argument that the message begins with is looked up in ``config``.
    """
    try:
        yield
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        key = str(error).splitlines()[0].rpartition(" ")[2]
        print(f"unimatch: {key}: missing; give {key}=VALUE", file=sys.stderr)
        sys.exit(ConfigError.status)
    except InterpolationResolutionError as error:
        why = str(error).splitlines()[0]
        key = f"{error.full_key}: " if error.full_key else ""
        print(f"unimatch: {key}{why}; correct what it refers to", file=sys.stderr)
        sys.exit(ConfigError.status)
    except Exception as error:
        cause = error_to_tell(error)
        if cause is None:
            raise
        if tracebacks_wanted():
            print(printable("".join(traceback.format_exception(error))), file=sys.stderr)
        message = message_of(cause)
        text = message if config is None else with_key(message, config)
        print(f"unimatch: {text if len(text) <= LONGEST else text[:LONGEST] + ' ...'}", file=sys.stderr)
        sys.exit(cause.status)


def check_installed() -> None:
    """Refuses to start without the configuration: a checkout's ``src`` on the search path alone does not hold it."""
    if find_spec(CONFIG_MODULE) is None:
        raise ConfigError(
            f"the configuration, {CONFIG_MODULE}, is missing: the package is imported from {Path(__file__).parents[1]} "
            "but is not installed; run `pip install -e .` in the checkout, or `pip install --no-deps -e .` where the "
            "dependencies are there"
        )


def check_here() -> None:
    """Refuses to start in a folder that has been removed since, where no relative path means anything."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError("the folder in which this was started has been removed; change to another one") from error


def check_output_folder(arguments: list[str]) -> None:
    """Refuses an output folder on the command line that Hydra will not be able to make, or will not look at."""
    unread, read = ("hydra.run.dir", "hydra.sweep.dir")[:: 1 if is_sweep(arguments) else -1]
    for text in arguments:
        key, _, value = text.partition("=")
        key = key.lstrip("+")
        if key == unread:
            what = "the jobs of a sweep" if is_sweep(arguments) else "a single run"
            raise ConfigError(f"{text}: {what} would not be written there; give {read}=FOLDER")
        if key in ("hydra.run.dir", "hydra.sweep.dir") and "${" not in value:
            folder = Path(value.strip("'\"")).absolute()
            there = next(parent for parent in (folder, *folder.parents) if parent.exists())
            if not there.is_dir():
                raise ConfigError(f"{text}: {there} is a file")
            if not os.access(there, os.W_OK | os.X_OK):
                raise ConfigError(f"{text}: {there} cannot be written to; choose another {key}")
            jobs = folder.glob("*") if is_sweep(arguments) else ()  # of a single run they are others', such as W&B's
            for place in (folder, *jobs):
                for pattern in (".hydra", ".hydra/*", "*.log"):  # Hydra writes them through links
                    for path in place.glob(pattern):
                        if path.is_symlink():
                            raise ConfigError(f"{text}: {path} is a link, and would be written through; remove it")


def refuse_pickles(arguments: list[str]) -> None:
    """Refuses Hydra's ``--experimental-rerun``, also abbreviated: unpickling a file runs whatever it says."""
    for text in arguments:
        flag = text.partition("=")[0]
        if len(flag) > 3 and "--experimental-rerun".startswith(flag):
            raise ConfigError(f"{flag}: would run code out of a pickle file; give the settings themselves")


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
