"""Checks a command line before PyTorch and Lightning are imported, which takes most of a command's start."""

import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from yaml import YAMLError

from unimatch.cli.command import check_config, command
from unimatch.cli.command_line import as_hydra_reads, check_command_line
from unimatch.cli.overrides import CONFIG_MODULE, check_overrides, config_folder, search_path
from unimatch.cli.user_errors import exit_on_user_error
from unimatch.options import number_of

RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Environment variables that Lightning reads as numbers while it is imported."""


def check_early(name: str) -> None:
    """Shows the help or the configuration if asked to, and ends the process; else refuses what Hydra would refuse.

    The command checks everything again later, so that what cannot be decided here may pass.

    Args:
        name: the command. Those without a configuration (``compare``, ``convert``, ``report``) are not checked.
    """
    if not Path(__file__).parents[1].joinpath("conf", f"{name}.yaml").is_file():
        return
    arguments = as_hydra_reads(sys.argv[1:])
    try:
        with redirect_stderr(StringIO()):
            asked = get_args_parser().parse_known_args(arguments)[0]
    except SystemExit:
        return
    if asked.config_path or asked.config_name:
        return
    if asked.help or asked.hydra_help or asked.cfg or asked.info or asked.shell_completion:
        show(name)
    with exit_on_user_error():
        for variable in RANKS:
            number_of(variable)
        check_command_line(name, arguments)
        check_composed(name, arguments, asked.overrides)


def show(name: str) -> None:
    """Lets Hydra show what is asked for, and ends the process."""

    def nothing(config: Any) -> None: ...

    nothing.__module__ = f"unimatch.{name}"  # from which Hydra takes the job's name
    command(name)(nothing)()
    sys.exit()


def check_composed(name: str, arguments: list[str], overrides: list[str]) -> None:
    """Composes the configuration of a command line, and refuses what Hydra or the command would refuse."""
    search = search_path(config_folder(arguments))
    try:
        with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            config = hydra.compose(name, [*search, *overrides])
    except (HydraException, YAMLError, TypeError, ValueError):  # the last two: GROUP=null, or GROUP=[1]
        check_overrides(name, arguments)
        return
    with exit_on_user_error(config):
        check_config(config, name, overrides)
