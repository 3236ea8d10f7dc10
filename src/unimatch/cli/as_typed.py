"""Makes what is typed readable for Hydra: names that look like numbers or like its grammar, flags behind settings."""

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
"""Keys whose values are names of files, folders and the like, by the last part."""

NUMBER = r"[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:e[+-]?\d+)?|[+-]?(?:inf|nan)|true|false"
NAMED = "|".join(PATHS)
QUOTED = r"""(?P<quoted>"(?:\\.|[^"])*"|'(?:\\.|[^'])*')"""


def quote_numbers(argument: str) -> str:
    """Quotes what is a name and looks like a number: Hydra would make 20240105 of the folder ``2024_01_05``.

    >>> [quote_numbers(text) for text in ("dataset.root=2024_01_05", "dataset.unlabeled=[rest,{root: 2024}]")]
    ["dataset.root='2024_01_05'", "dataset.unlabeled=[rest,{root: '2024'}]"]
    >>> [quote_numbers(text) for text in ("dataset.split=1_16,all", "dataset.split=366", "trainer.max_steps=10_000")]
    ["dataset.split='1_16',all", 'dataset.split=366', 'trainer.max_steps=10_000']
    """
    key, equals, value = argument.partition("=")
    name = key.rpartition(".")[2].lstrip("+~")
    named = name in (*PATHS, "split") or key == "features"  # select's folder; a model's features are a number
    before = rf"(?:[{{,]\s*(?:{NAMED})\s*:\s*)" + r"|(?:^|[\[,]\s*)" * named
    number = r"\d+(?:_\d+)+" if name == "split" else NUMBER  # a split's plain number stays one, as it is in old runs
    found = re.compile(rf"{QUOTED}|(?P<before>{before})(?P<number>{number})(?=\s*(?:[\],}}]|$))", re.IGNORECASE)

    def quote(match: re.Match[str]) -> str:
        return match[0] if match["quoted"] else f"{match['before']}'{match['number']}'"

    return key + equals + found.sub(quote, value)


def quote_names(argument: str, *, sweep: bool = False) -> str:
    r"""Quotes the name of a file or folder that Hydra would not read as it is typed: ``photos (1)``, ``josé``, ``a,b``.

    Args:
        argument: ``KEY=VALUE``.
        sweep: whether a comma stands between the values of several jobs.

    >>> [quote_names(text) for text in ("dataset.root=photos (1)", "input=it's.png", "dataset.root=a b", "seed=(1")]
    ["dataset.root='photos (1)'", "input='it\\'s.png'", 'dataset.root=a b', 'seed=(1']
    """
    key, equals, value = argument.partition("=")
    if key.rpartition(".")[2].lstrip("+~") not in PATHS or value.startswith(("[", "{", '"', "'")):
        return argument
    texts = value.split(",") if sweep else [value]
    return key + equals + ",".join(text if is_read_as_typed(text) else quoted(text) for text in texts)


def refuse_several(arguments: Collection[str]) -> None:
    """Refuses several values of a key where one run is asked for: ``tau=0,95`` may be meant as a number."""
    for text in arguments:
        if "=" in text and not text.startswith("-") and not is_sweep(arguments):
            override = OverridesParser.create().parse_override(text)
            if override.is_sweep_override():
                raise ConfigError(
                    f"{text}: several values are several runs, which -m starts; a list is written "
                    f"{override.key_or_group}=[A,B], a number with a point, and text with a comma in quotes within "
                    "those of the terminal: 'KEY=\"A,B\"'"
                )


def refuse_empty(arguments: Sequence[str]) -> None:
    """Refuses the name of a file or folder that is empty, as a shell's variable is that is not set: ``output=$OUT``."""
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and not value.strip() and not key.startswith(("-", "~")) and key.rpartition(".")[2] in PATHS:
            raise ConfigError(
                f"{argument}: nothing is given (a variable of the shell that is not set?); give {key}=NAME"
            )


def is_read_as_typed(name: str) -> bool:
    """Tells whether Hydra reads a name, and as one; its functions, such as ``glob(*)``, are left to it."""
    try:
        override = OverridesParser.create().parse_override(f"key={name}")
    except HydraException:
        return False
    one = not override.is_sweep_override() and (not isinstance(override.value(), str) or override.value() == name)
    return one or not os.path.lexists(Path(name).expanduser())


def quoted(text: str) -> str:
    """Returns a text as Hydra's grammar quotes it."""
    whole = re.sub(r"(\\*)'", r"\1\1\'", text)
    return f"'{whole}{whole[len(whole.rstrip(chr(92))) :]}'"


def unread(text: str, error: HydraException) -> str:
    """Says which part of ``KEY=VALUE`` Hydra's grammar does not take, and how to write it."""
    lines = [line for line in str(error).splitlines() if not line.startswith(("Error parsing override", "See http"))]
    kind, _, quote = lines[0].partition(": ") if lines else ("", "", "")
    why = lines[0].partition(" expecting ")[0] if lines else type(error).__name__
    if kind.startswith("Lexer") and len(lines) > 1 and "^" in lines[1]:
        place = lines[1].index("^") - len(kind) - 2
        why = f"at {quote[place : place + 1]!r}"
    example = '["A","B"]' if text.partition("=")[2].startswith("[") else '"VALUE"'
    return (
        f"{text}: cannot be read ({why}); text with other signs than letters, digits, blanks and -_./:%+ needs quotes "
        f"within those of the terminal: 'KEY={example}'"
    )


WITH_VALUE = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--package", "-p", "--cfg", "-c")
"""Hydra's flags that the next argument belongs to."""


def flags_first(arguments: Sequence[str]) -> list[str]:
    """Puts flags before the settings: Hydra's parser refuses those that stand between two of them.

    >>> flags_first(["seed=0", "--config-dir", "a=b", "-m", "method=fixmatch", "~callbacks.report"])
    ['--config-dir', 'a=b', '-m', 'seed=0', 'method=fixmatch', '~callbacks.report']
    >>> flags_first(["seed=0", "--info"])  # of what, may be left out: Hydra would take the setting for it
    ['--info', 'all', 'seed=0']
    """
    before = ["", *arguments]
    settings = [
        not text.startswith("-") and ("=" in text or text.startswith("~")) and flag not in WITH_VALUE
        for flag, text in zip(before, arguments, strict=False)
    ]
    of_kind = {
        kind: [text for text, own in zip(arguments, settings, strict=True) if own is kind] for kind in (False, True)
    }
    of_all = ["all"] if of_kind[False][-1:] in (["--info"], ["-i"]) else []
    return [*of_kind[False], *of_all, *of_kind[True]]


def is_sweep(arguments: Collection[str]) -> bool:
    """Returns whether a command line asks for several jobs."""
    return not {"-m", "--multirun", "hydra.mode=MULTIRUN"}.isdisjoint(arguments)
