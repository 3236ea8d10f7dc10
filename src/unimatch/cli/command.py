"""Makes Hydra commands: checks of the command line before they start, and errors as one message."""

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

from unimatch import startup
from unimatch.cli.building import error_to_tell, message_of, with_key
from unimatch.cli.overrides import CONFIG_MODULE, check_overrides, config_folder
from unimatch.cli.quoting import flags_first, is_sweep, quote_names, quote_numbers, refuse_empty, refuse_several
from unimatch.cli.setting_kinds import check_settings
from unimatch.cli.unused_settings import refuse_of_training, refuse_unread
from unimatch.disk import unwritable
from unimatch.errors import TRACEBACKS, ConfigError
from unimatch.safe_text import printable
from unimatch.terminal import print_any_name

LONGEST_MESSAGE = 20_000
"""The most characters of a message: it may quote the content of a file."""


def command(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Makes a function of a configuration a command, like ``hydra.main`` but with errors that a user can act on.

    For a mistyped group or key the message names the closest real one. Such errors, and every :class:`UnimatchError`,
    end the process with the error's status and without a traceback.

    Args:
        config_name: the primary configuration in ``conf/``, without ``.yaml``.
    """

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], None]:
        def main() -> None:
            tracebacks = os.environ.get(TRACEBACKS)
            has_begun = False

            @functools.wraps(task)
            def run(config: DictConfig) -> Any:
                nonlocal has_begun
                has_begun = True
                print_any_name()
                with variable(TRACEBACKS, tracebacks), exit_on_user_error(config):
                    check_config(config, config_name, HydraConfig.get().overrides.task)
                    return task(config)

            startup.done()
            startup.open_streams()
            startup.allow_open_files()
            hide_bases()
            sys.argv[1:] = as_hydra_reads(sys.argv[1:])
            with exit_on_user_error():
                check_arguments(config_name, sys.argv[1:])
            try:
                with variable(TRACEBACKS, "1"):  # else Hydra prints errors itself and exits
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
                if has_begun or error.filename is None:
                    raise
                with exit_on_user_error():  # Hydra could not make the run's folder, or its own files there
                    message = f"{error.filename}: cannot be made ({error.strerror}); choose another folder"
                    raise unwritable(message, error) from error
            except ValueError as error:
                if str(error).startswith("Config group override must be"):  # GROUP=null, or a number
                    with exit_on_user_error():
                        check_overrides(config_name, sys.argv[1:])
                if not str(error).startswith("Only one of --"):  # flags of Hydra that exclude one another: -m, --cfg
                    raise
                print(f"unimatch: {error}", file=sys.stderr)
                sys.exit(ConfigError.status)

        return main

    return decorate


def as_hydra_reads(arguments: list[str]) -> list[str]:
    """Returns a command line as Hydra understands it: flags first, and names of files in quotes."""
    sweep = is_sweep(arguments)
    return flags_first([quote_numbers(quote_names(argument, sweep=sweep)) for argument in arguments])


def check_arguments(config_name: str, arguments: list[str]) -> None:
    """Refuses a command line that is wrong before Hydra composes a configuration."""
    check_working_folder()
    refuse_pickles(arguments)
    refuse_empty(arguments)
    check_installed()
    config_folder(arguments)  # refuses a folder that does not exist
    check_output_folder(arguments)
    if is_sweep(arguments):  # Hydra makes the sweep's folder before it composes all jobs
        check_overrides(config_name, arguments)


def check_config(config: DictConfig, config_name: str, overrides: Collection[str]) -> None:
    """Refuses settings of the wrong kind, and those that the command does not read."""
    check_settings(config, config_name)
    refuse_unread(config, config_name)
    refuse_of_training(overrides, config_name)


def tracebacks_wanted() -> bool:
    """Returns whether the user asks for the traceback of each error."""
    return os.environ.get(TRACEBACKS) == "1"


@contextmanager
def variable(name: str, value: str | None) -> Iterator[None]:
    """Sets an environment variable, or removes it for None, and restores its former value at the end."""
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
    """Silences messages of libraries that do not help the user."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)  # tips and device lists
    logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)  # retries; if all fail, an error says so
    for message in (
        ".*in eval mode at the start of training.*",  # the teacher is, on purpose
        ".*sync_dist=True.*",  # scores are computed from the counts of all processes
        ".*does not have many workers.*",
        ".*Experiment logs directory .* exists.*",  # Hydra has made the run directory
        ".*LeafSpec.*is deprecated.*",  # about Lightning's own code, on recent PyTorch
        ".*your dataloader is not resumable.*",  # it is: the sampler leaves out the batches that are done
        ".*The number of training batches .* is smaller than the logging interval.*",
        ".*The `srun` command is available.*",  # on every machine with SLURM; harmful uses are refused elsewhere
    ):
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def exit_on_user_error(config: DictConfig | None = None) -> Iterator[None]:
    """Prints an error that a user can act on, and exits with its status; other errors pass.

    Those are :class:`UnimatchError`, also inside errors of Hydra's ``instantiate``, full disks, wrong names of files,
    and errors that the user's own code raises. The traceback comes first if the user asks for tracebacks.

    Args:
        config: in which the argument that a message begins with is looked up, to print its full name.
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
        if len(text) > LONGEST_MESSAGE:
            text = f"{text[:LONGEST_MESSAGE]} ..."
        print(f"unimatch: {text}", file=sys.stderr)
        sys.exit(cause.status)


def check_installed() -> None:
    """Refuses to start without the configuration, which a checkout's ``src`` on the search path does not contain."""
    if find_spec(CONFIG_MODULE) is None:
        raise ConfigError(
            f"the configuration, {CONFIG_MODULE}, is missing: the package is imported from {Path(__file__).parents[1]} "
            "but is not installed; run `pip install -e .` in the checkout, or `pip install --no-deps -e .` where the "
            "dependencies are there"
        )


def check_working_folder() -> None:
    """Refuses to start in a working folder that has been removed, where relative paths have no meaning."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError("the folder in which this was started has been removed; change to another one") from error


def check_output_folder(arguments: list[str]) -> None:
    """Refuses an output folder on the command line that Hydra cannot make, or does not read.

    Raises:
        ConfigError: naming the argument.
    """
    if is_sweep(arguments):
        read, unread, jobs = "hydra.sweep.dir", "hydra.run.dir", "the jobs of a sweep"
    else:
        read, unread, jobs = "hydra.run.dir", "hydra.sweep.dir", "a single run"
    for text in arguments:
        key, _, value = text.partition("=")
        key = key.lstrip("+")
        if key == unread:
            raise ConfigError(f"{text}: {jobs} would not be written there; give {read}=FOLDER")
        if key == read and "${" not in value:
            folder = Path(value.strip("'\"")).absolute()
            existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
            if not existing.is_dir():
                raise ConfigError(f"{text}: {existing} is a file")
            if not os.access(existing, os.W_OK | os.X_OK):
                raise ConfigError(f"{text}: {existing} cannot be written to; choose another {key}")
            if link := link_of_hydra(folder, sweep=is_sweep(arguments)):
                raise ConfigError(f"{text}: {link} is a link, and would be written through; remove it")


def link_of_hydra(folder: Path, *, sweep: bool) -> Path | None:
    """Returns a link in an output folder, or in a job's folder of a sweep, through which Hydra would write; or None."""
    jobs = folder.glob("*") if sweep else ()  # folders in the folder of a single run are others', such as W&B's
    for place in (folder, *jobs):
        for pattern in (".hydra", ".hydra/*", "*.log"):
            for path in place.glob(pattern):
                if path.is_symlink():
                    return path
    return None


def refuse_pickles(arguments: list[str]) -> None:
    """Refuses Hydra's ``--experimental-rerun``, also abbreviated: it unpickles a file, which can run any code."""
    for text in arguments:
        flag = text.partition("=")[0]
        if len(flag) > 3 and "--experimental-rerun".startswith(flag):
            raise ConfigError(f"{flag}: would run code out of a pickle file; give the settings themselves")


@functools.cache
def hide_bases() -> None:
    """Makes Hydra's help and completion leave out the bases in ``conf/``, whose names begin with ``_``.

    Hydra's own class is changed: a class of ours in its registry would not reach the jobs of launchers like submitit.
    """
    Plugins.instance()  # registers Hydra's own sources
    source = SourcesRegistry.instance().types["pkg"]
    listed = source.list

    def options_only(*arguments: Any, **options: Any) -> list[str]:
        return [name for name in listed(*arguments, **options) if not name.startswith("_")]

    source.list = options_only  # type: ignore[method-assign]


def keys_of(command: str) -> str:
    """Returns a command's keys, with the comments beside them in its file, for its help: ``${keys:check}``.

    >>> keys_of("check").splitlines()[0]
    '  workers  processes; null: one per core'
    """
    text = (files(CONFIG_MODULE) / f"{command}.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^(\w+): .*? # (.*)$", text, re.MULTILINE)
    width = max(len(key) for key, _ in found)
    return "\n".join(f"  {key:<{width}}  {comment}" for key, comment in found)


OmegaConf.register_new_resolver("keys", keys_of, replace=True)
