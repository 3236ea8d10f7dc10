"""Rewrites a typed command line for Hydra: quotes names that its grammar would misread, and puts flags first."""

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from unimatch.errors import ConfigError

PATHS = (
    *("dir", "subdir", "root", "list", "splits", "labeled_list", "unlabeled_list", "val_list", "test_list", "classes"),
    *("images", "masks", "source", "input", "output", "out", "from", "to", "checkpoint", "weights", "start_from"),
    *("resume", "name", "project", "entity", "experiment", "tags", "unlabeled_folder", "given", "scores", "background"),
    "group",
)
"""The last parts of keys whose values are names, mostly of files and folders."""

NUMBER = r"[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:e[+-]?\d+)?|[+-]?(?:inf|nan)|true|false"
"""What Hydra reads as a number or a truth value."""
QUOTED = r"""(?P<quoted>"(?:\\.|[^"])*"|'(?:\\.|[^'])*')"""
"""A text in quotes."""

WITH_VALUE = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--package", "-p", "--cfg", "-c")
"""Hydra's flags that take the next argument as their value."""


def quote_numbers(argument: str) -> str:
    """Quotes names that look like numbers: Hydra would read the folder ``2024_01_05`` as 20240105.

    >>> [quote_numbers(text) for text in ("dataset.root=2024_01_05", "dataset.unlabeled=[rest,{root: 2024}]")]
    ["dataset.root='2024_01_05'", "dataset.unlabeled=[rest,{root: '2024'}]"]
    >>> [quote_numbers(text) for text in ("dataset.split=1_16,all", "dataset.split=366", "trainer.max_steps=10_000")]
    ["dataset.split='1_16',all", 'dataset.split=366', 'trainer.max_steps=10_000']
    """
    key, equals, value = argument.partition("=")
    name = key.rpartition(".")[2].lstrip("+~")
    before = rf"[{{,]\s*(?:{'|'.join(PATHS)})\s*:\s*"  # a key of a mapping
    if name in (*PATHS, "split") or key == "features":  # select's features are a folder, a model's are a number
        before += r"|^|[\[,]\s*"  # the beginning of the value, or of a list's element
    number = r"\d+(?:_\d+)+" if name == "split" else NUMBER  # a plain number stays one: old runs hold splits as numbers
    found = re.compile(rf"{QUOTED}|(?P<before>{before})(?P<number>{number})(?=\s*(?:[\],}}]|$))", re.IGNORECASE)

    def quote(match: re.Match[str]) -> str:
        return match[0] if match["quoted"] else f"{match['before']}'{match['number']}'"

    return key + equals + found.sub(quote, value)


def quote_names(argument: str, *, sweep: bool = False) -> str:
    r"""Quotes names of files and folders that Hydra would not read as typed: ``photos (1)``, ``josé``, ``a,b``.

    Args:
        argument: one argument, such as ``KEY=VALUE``.
        sweep: whether commas separate the values of several jobs.

    >>> [quote_names(text) for text in ("dataset.root=photos (1)", "input=it's.png", "dataset.root=a b", "seed=(1")]
    ["dataset.root='photos (1)'", "input='it\\'s.png'", 'dataset.root=a b', 'seed=(1']
    """
    key, equals, value = argument.partition("=")
    if key.rpartition(".")[2].lstrip("+~") not in PATHS or value.startswith(("[", "{", '"', "'")):
        return argument
    texts = value.split(",") if sweep else [value]
    return key + equals + ",".join(text if is_read_as_typed(text) else quoted(text) for text in texts)


def refuse_several(arguments: Collection[str]) -> None:
    """Refuses several values of a key for a single run: ``tau=0,95`` may be meant as a number.

    Raises:
        ConfigError: naming the argument.
    """
    if is_sweep(arguments):
        return
    for text in arguments:
        if "=" in text and not text.startswith("-"):
            override = OverridesParser.create().parse_override(text)
            if override.is_sweep_override():
                raise ConfigError(
                    f"{text}: several values are several runs, and only -m starts several. A list is written "
                    f"{override.key_or_group}=[A,B], a decimal number with a point, and text with a comma in quotes "
                    "inside those of the shell: 'KEY=\"A,B\"'"
                )


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuses empty names of files and folders, as unset variables of the shell make them: ``output=$OUT``.

    Raises:
        ConfigError: naming the argument.
    """
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and not value.strip() and not key.startswith(("-", "~")) and key.rpartition(".")[2] in PATHS:
            raise ConfigError(f"{argument}: the name is empty (is a variable of the shell not set?); give {key}=NAME")


def is_read_as_typed(name: str) -> bool:
    """Returns whether a name needs no quotes.

    A name that Hydra reads as something else, such as ``glob(*)``, needs them only if there is a file of that name.
    """
    try:
        override = OverridesParser.create().parse_override(f"key={name}")
    except HydraException:
        return False
    is_one = not override.is_sweep_override() and (not isinstance(override.value(), str) or override.value() == name)
    return is_one or not os.path.lexists(Path(name).expanduser())


def quoted(text: str) -> str:
    r"""Returns a text in quotes, as Hydra's grammar wants it: backslashes count only before a quote.

    >>> print(quoted("it's"), quoted("a\\b"), quoted("end\\"))
    'it\'s' 'a\b' 'end\\'
    """
    escaped = re.sub(r"(\\*)'", r"\1\1\'", text)
    return "'" + re.sub(r"\\+\Z", r"\g<0>\g<0>", escaped) + "'"


def parse_failure(text: str, error: HydraException) -> str:
    """Returns a message that says where Hydra's grammar does not take ``KEY=VALUE``, and how to write it."""
    lines = [line for line in str(error).splitlines() if not line.startswith(("Error parsing override", "See http"))]
    kind, _, quote = lines[0].partition(": ") if lines else ("", "", "")
    why = lines[0].partition(" expecting ")[0] if lines else type(error).__name__
    if kind.startswith("Lexer") and len(lines) > 1 and "^" in lines[1]:
        place = lines[1].index("^") - len(kind) - 2
        why = f"at {quote[place : place + 1]!r}"
    example = '["A","B"]' if text.partition("=")[2].startswith("[") else '"VALUE"'
    return (
        f"{text}: cannot be read ({why}); text with characters other than letters, digits, spaces and -_./:%+ needs "
        f"quotes inside those of the shell: 'KEY={example}'"
    )


def flags_first(arguments: Sequence[str]) -> list[str]:
    """Puts flags before the settings, because Hydra's parser refuses flags between settings.

    >>> flags_first(["seed=0", "--config-dir", "a=b", "-m", "method=fixmatch", "~callbacks.report"])
    ['--config-dir', 'a=b', '-m', 'seed=0', 'method=fixmatch', '~callbacks.report']
    >>> flags_first(["seed=0", "--info"])  # gets its default value, or Hydra would take the setting for it
    ['--info', 'all', 'seed=0']
    """
    flags, settings = list[str](), list[str]()
    previous = ""
    for argument in arguments:
        looks_like_setting = not argument.startswith("-") and ("=" in argument or argument.startswith("~"))
        is_setting = looks_like_setting and previous not in WITH_VALUE
        (settings if is_setting else flags).append(argument)
        previous = argument
    if flags and flags[-1] in ("--info", "-i"):
        flags.append("all")
    return [*flags, *settings]


def is_sweep(arguments: Collection[str]) -> bool:
    """Returns whether a command line asks for a sweep: several jobs."""
    return not {"-m", "--multirun", "hydra.mode=MULTIRUN"}.isdisjoint(arguments)
