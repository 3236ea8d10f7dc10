"""Makes Hydra commands: checks of the command line before they start, and errors as one message."""

import functools
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from unimatch import startup
from unimatch.cli.arguments import written
from unimatch.cli.command_line import as_hydra_reads, check_command_line, refuse_words
from unimatch.cli.help import hide_bases
from unimatch.cli.overrides import CONFIG_MODULE, check_overrides, fault_in_file
from unimatch.cli.quoting import refuse_several
from unimatch.cli.references import refuse_unknown_references
from unimatch.cli.setting_kinds import check_settings, own_settings
from unimatch.cli.unused_settings import refuse_of_training, refuse_unread
from unimatch.cli.user_errors import exit_on_user_error, raised_by_hydra, tracebacks_wanted, variable
from unimatch.disk import unwritable
from unimatch.errors import TRACEBACKS, ConfigError
from unimatch.terminal import print_any_name

FLAGS = ("Only one of --", "The --resolve flag", "Expecting one subcommand")
"""How Hydra's messages begin about its flags that exclude or need one another, which are plain ValueErrors."""


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
                check_command_line(config_name, sys.argv[1:])
            with interruption_told(config_name), hydra_errors_told(config_name, lambda: has_begun), raised_by_hydra():
                hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=config_name)(run)()

        return main

    return decorate


@contextmanager
def interruption_told(config_name: str) -> Iterator[None]:
    """Ends the process with the status of Ctrl-C and one line, in place of a traceback of whatever it was doing.

    A training acts on Ctrl-C itself; a second one there shows where it was.
    """
    try:
        yield
    except KeyboardInterrupt:
        if config_name == "run" or tracebacks_wanted():
            raise
        print("\nunimatch: SIGINT: ended before all was done", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


@contextmanager
def hydra_errors_told(config_name: str, has_begun: Callable[[], bool]) -> Iterator[None]:
    """Ends the process with a message for the user if Hydra cannot compose the configuration or make its folders.

    Args:
        config_name: of the command.
        has_begun: whether the command itself runs already, whose errors pass.
    """
    try:
        yield
    except (YAMLError, UnicodeDecodeError, OmegaConfBaseException) as error:
        if has_begun():
            raise
        with exit_on_user_error():
            if isinstance(error, OmegaConfBaseException):
                raise
            raise fault_in_file(error) from error
    except CompactHydraException as error:
        with exit_on_user_error(), suppress(HydraException):
            refuse_words(sys.argv[1:])
            check_overrides(config_name, sys.argv[1:])
            refuse_several(sys.argv[1:])
        if tracebacks_wanted():
            raise
        cause = f"\n{error.__cause__}" if error.__cause__ else ""
        print(f"unimatch: {error}{cause}\n{TRACEBACKS}=1 shows where in the code", file=sys.stderr)
        sys.exit(ConfigError.status)
    except OSError as error:
        if has_begun() or error.filename is None:
            raise
        with exit_on_user_error():  # Hydra could not make the run's folder, or its own files there
            message = f"{error.filename}: cannot be made ({error.strerror}); choose another folder"
            raise unwritable(message, error) from error
    except (TypeError, ValueError) as error:
        if not has_begun():  # GROUP=null, or GROUP=[1]
            with exit_on_user_error():
                check_overrides(config_name, sys.argv[1:])
        if not str(error).startswith(FLAGS):
            raise
        print(f"unimatch: {error}", file=sys.stderr)
        sys.exit(ConfigError.status)


def check_config(config: DictConfig, config_name: str, overrides: Collection[str]) -> None:
    """Refuses settings of the wrong kind, those that the command does not read, and references to unknown keys."""
    refuse_wrong_choices(overrides)
    refuse_no_nodes(config, config_name)
    if config_name == "run":  # data sets fill in nodes of a training, of which other commands have only some
        refuse_unknown_references(config)
    check_settings(config, config_name)
    refuse_unread(config, config_name)
    refuse_of_training(overrides, config_name)


def refuse_wrong_choices(overrides: Collection[str]) -> None:
    """Refuses several options of a group of which one is needed, and to leave out the group of callbacks."""
    for text in overrides:
        group, _, value = text.partition("=")
        if group in ("dataset", "encoder", "method", "recipe", "task", "trainer") and value.startswith("["):
            raise ConfigError(f"{text}: choose one option of {group}")
        if text == "~callbacks":
            raise ConfigError("~callbacks: this group is needed; callbacks=none leaves all callbacks out")


def refuse_no_nodes(config: DictConfig, config_name: str) -> None:
    """Refuses one value, or none, in place of settings, such as ``model=null``."""
    nodes = [key for key, default in own_settings(config_name).items() if isinstance(default, dict)]
    for key in (*nodes, "inference"):
        if key != "hydra" and key in config and not OmegaConf.is_dict(config[key]):
            raise ConfigError(f"{key}={written(config[key])}: is no value; change its settings, {key}.KEY=VALUE")


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
