"""Checks a command line before Hydra composes a configuration of it."""

import os
from importlib.util import find_spec
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser

from unimatch.cli.overrides import CONFIG_MODULE, check_overrides, config_folder
from unimatch.cli.quoting import flags_first, is_sweep, quote_names, quote_numbers, refuse_empty
from unimatch.errors import ConfigError


def as_hydra_reads(arguments: list[str]) -> list[str]:
    """Returns a command line as Hydra understands it: flags first, and names of files in quotes."""
    sweep = is_sweep(arguments)
    return flags_first([quote_numbers(quote_names(argument, sweep=sweep)) for argument in arguments])


def check_command_line(config_name: str, arguments: list[str]) -> None:
    """Refuses a command line that is wrong before Hydra composes a configuration."""
    check_working_folder()
    refuse_pickles(arguments)
    refuse_empty(arguments)
    check_installed()
    config_folder(arguments)  # refuses a folder that does not exist
    check_output_folder(config_name, arguments)
    if is_sweep(arguments):  # Hydra makes the sweep's folder before it composes all jobs
        check_overrides(config_name, arguments)
        check_outputs_of_sweep(config_name, arguments)


OUTPUTS = {
    **dict.fromkeys(("predict", "export", "evaluate"), "output"),
    **dict.fromkeys(("select", "round", "split", "labels"), "out"),
}
"""The setting of each command that names the file or folder that it writes."""

OWN_PLACE = {
    "evaluate": {"checkpoint", "dataset", "split"},
    "labels": {"from", "to"},
    "split": {"root", "dataset"},
}
"""Settings of which the commands make the name of the place that they write to if none is given."""


def check_outputs_of_sweep(config_name: str, arguments: list[str]) -> None:
    """Refuses a sweep whose jobs would all write to one place, so that each replaced or mixed the others' results.

    Args:
        config_name: the primary configuration in ``conf/``, without ``.yaml``.
        arguments: the command line of a sweep, which names known keys.

    Raises:
        ConfigError: naming the setting of the place.
    """
    if config_name == "app":
        raise ConfigError("-m: the app serves one page until it is ended; leave it out")
    key = OUTPUTS.get(config_name)
    texts = [text for text in arguments if "=" in text and not text.startswith(("-", "hydra."))]
    overrides = OverridesParser.create().parse_overrides(texts)
    varied = {override.key_or_group for override in overrides if override.is_sweep_override()}
    given = next((text for text in reversed(texts) if text.lstrip("+").partition("=")[0] == key), None)
    others = varied - ({key} if given else OWN_PLACE.get(config_name, set()))
    if key is None or not others or "${" in (given or ""):
        return
    name = "outputs/${hydra:job.num}" + (".SUFFIX" if config_name == "export" else "")
    raise ConfigError(
        f"{given or f'{key}: is not given, so that'}{':' if given else ''} jobs of the sweep, which differ in "
        f"{', '.join(sorted(others))}, would write to one place; give each its own, such as '{key}={name}'"
    )


def check_working_folder() -> None:
    """Refuses to start in a working folder that has been removed, where relative paths have no meaning."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError("the folder in which this was started has been removed; change to another one") from error


def refuse_pickles(arguments: list[str]) -> None:
    """Refuses Hydra's ``--experimental-rerun``, also abbreviated: it unpickles a file, which can run any code."""
    for text in arguments:
        flag = text.partition("=")[0]
        if len(flag) > 3 and "--experimental-rerun".startswith(flag):
            raise ConfigError(f"{flag}: would run code out of a pickle file; give the settings themselves")


def refuse_words(arguments: list[str]) -> None:
    """Refuses words that are no ``KEY=VALUE``, such as the name of a file alone."""
    for text in get_args_parser().parse_known_args(arguments)[0].overrides:
        if "=" not in text and not text.startswith("~"):
            hint = f"; did you mean checkpoint={text}?" if text.endswith(".ckpt") else ""
            raise ConfigError(f"{text}: is not KEY=VALUE{hint}")


def check_installed() -> None:
    """Refuses to start without the configuration, which a checkout's ``src`` on the search path does not contain."""
    if find_spec(CONFIG_MODULE) is None:
        raise ConfigError(
            f"the configuration, {CONFIG_MODULE}, is missing: the package is imported from {Path(__file__).parents[1]} "
            "but is not installed; run `pip install -e .` in the checkout, or `pip install --no-deps -e .` where the "
            "dependencies are there"
        )


def check_output_folder(config_name: str, arguments: list[str]) -> None:
    """Refuses an output folder on the command line that Hydra cannot make, or does not read.

    Args:
        config_name: the primary configuration in ``conf/``, without ``.yaml``.
        arguments: the command line.

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
        if key == unread or (key == "out" and config_name == "check" and is_sweep(arguments)):
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
