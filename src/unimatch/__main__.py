"""``unimatch COMMAND ...``: runs any of the commands, as ``python -m unimatch.COMMAND ...`` does."""

import os
import runpy
import sys
from importlib import import_module
from typing import Any

from unimatch import startup
from unimatch.options import did_you_mean

COMMANDS = {
    "run": "train a method on a data set and evaluate it",
    "evaluate": "score a checkpoint's student and teacher on a data set",
    "predict": "predict masks or classes of images, folders, lists and videos",
    "export": "write a trained model as ONNX, torch.export program or safetensors",
    "app": "serve a local page to drop images on",
    "compare": "print one table of several runs, with mean and spread over seeds",
    "report": "write report.html of runs",
    "prepare": "turn a benchmark's published archives into folders",
    "split": "choose labelled images and write lists of them",
    "check": "read a whole data set and report its faults",
    "select": "choose which photos to label, from the photos alone",
    "round": "choose the photos that a model knows least, with its masks to correct",
    "labels": "read what a label tool exports, or write masks for one to correct",
    "convert": "make a published UniMatch V2 checkpoint one of ours",
}
WITHOUT_KEYS = ("compare", "convert", "report")
"""Commands that take files and options, and no KEY=VALUE."""


def main() -> int:
    """Runs the command that the first argument names; returns the exit status."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        lines = [f"  {command:10}{purpose}" for command, purpose in COMMANDS.items()]
        print("unimatch COMMAND ...", "", *lines, "", "unimatch COMMAND --help says more of each.", sep="\n")
        print('eval "$(unimatch --shell-completion install=bash)" completes commands and keys with Tab.')
        return 0
    if name in ("-sc", "--shell-completion") or arguments[:1] in (["-sc"], ["--shell-completion"]):
        return complete()
    if name not in COMMANDS:
        print(
            f"unimatch: {name}: no such command{did_you_mean(name, COMMANDS)} There are: {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    sys.argv[1:] = arguments
    startup.watch()
    import_module("unimatch.cli.early_checks").check_early(name)  # imported late, since Hydra takes a while to import
    # Runs it as `python -m` does: the further processes that Lightning starts find the module by its name.
    runpy.run_module(f"unimatch.{name}", run_name="__main__", alter_sys=True)
    return 0


def complete() -> int:
    """Prints what shell completion asks for: Hydra's script to install, or the words that may come next."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    name_is_complete = len(words) > 2 or (len(words) == 2 and line.endswith(" "))
    name = words[1] if name_is_complete else None
    if "query" in sys.argv[-1]:
        if name is None:
            print(*COMMANDS)
            return 0
        if name in WITHOUT_KEYS or name not in COMMANDS:
            print()  # the shell then offers files
            return 0
        os.environ["COMP_LINE"] = line.replace(f" {name}", "", 1)  # Hydra expects a program without commands

    from unimatch.cli.command import command  # imported late, since Hydra takes a while to import

    def nothing(config: Any) -> None: ...

    sys.argv[:] = ["unimatch", "--shell-completion", sys.argv[-1]]
    command(name or "run")(nothing)()
    return 0


if __name__ == "__main__":
    sys.exit(main())
