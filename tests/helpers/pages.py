"""Follows a documentation page: its code blocks run as a reader would run them, top to bottom, in one folder.

A comment directly above a block says what differs in a test; CONTRIBUTING.md states the rule.
"""

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.places import ROOT
from helpers.support import make_camvid, save_run

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TAKE_FILES = ("compare", "convert", "report")
"""Commands without settings."""
SHOWN = ("", "csv", "console", "diff", "ini", "json", "make", "pycon", "text", "yaml")
"""Languages of blocks that are only read, unless they have a title."""

BLOCK = re.compile(
    r"(?:^ *<!-- (?P<comment>[^\n]*?) -->\n+)?^(?P<indent> *)```(?P<language>\w*)(?P<info>[^\n]*)\n"
    r"(?P<code>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str
    """The file that the block is written to, where it has a title."""
    code: str
    not_run: str
    """Why it is not run; empty where it is."""
    run_with: tuple[str, ...]
    """Settings that a test adds to each command of ours, in place of the command's own."""


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        comment, code = match["comment"] or "", match["code"]
        if match["indent"]:
            code = re.sub(f"^{match['indent']}", "", code, flags=re.MULTILINE)
        title = re.search(r'title="([^"]+)"', match["info"])
        kind, _, value = comment.partition(": ")
        yield Block(
            page,
            line=text[: match.start("language")].count("\n") + 1,
            language=match["language"],
            title=title[1] if title else "",
            code=code,
            not_run=value if kind == "not run" else "",
            run_with=tuple(shlex.split(value)) if kind == "run with" else (),
        )


def lines(code: str) -> list[str]:
    """The commands of a bash block, continued lines joined, without empty ones and comments."""
    joined = code.replace("\\\n", " ").splitlines()
    return [line for line in joined if line.strip() and not line.lstrip().startswith("#")]


def unimatch_command(line: str) -> tuple[str, list[str]] | None:
    """``("run", ["dataset=folder", ...])`` of a line ``python -m unimatch.run dataset=folder ...``, else None."""
    match = re.match(r"python -m unimatch\.(\w+)(.*)", line)
    return (match[1], shlex.split(match[2], comments=True)) if match else None


def follow(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the blocks of a page in a folder."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = re.search(r"<!-- before: (.*?) -->", page.read_text())
    for name in before[1].split(", ") if before else ():
        BEFORE[name](folder)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    modules = set(sys.modules)
    try:
        for block in blocks(page):
            run_block(block, namespace, monkeypatch)
    finally:
        for name in set(sys.modules) - modules:  # the page's own files
            if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(folder):
                del sys.modules[name]


def run_block(block: Block, namespace: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write, execute or leave out one block."""
    where = f"{block.page.name}:{block.line}"
    if block.not_run:
        return
    if block.title:
        Path(block.title).parent.mkdir(parents=True, exist_ok=True)
        Path(block.title).write_text(block.code)
    elif block.language == "python":
        exec(compile("\n" * block.line + block.code, str(block.page), "exec"), namespace)
    elif block.language == "bash":
        for line in lines(block.code):
            command = unimatch_command(line)
            if command is None:
                done = subprocess.run(["bash", "-euc", line], capture_output=True, text=True, timeout=300, check=False)
                assert done.returncode == 0, f"{where}: {line}\n{done.stderr}"
            else:
                name, arguments = command
                status = call(name, with_settings(arguments, () if name in TAKE_FILES else block.run_with), monkeypatch)
                assert not status, f"{where}: {line} ended with status {status}"


def with_settings(arguments: list[str], settings: tuple[str, ...]) -> list[str]:
    """Arguments with settings added, in place of those of the same keys."""
    keys = {setting.partition("=")[0] for setting in settings}
    return [argument for argument in arguments if argument.partition("=")[0] not in keys] + list(settings)


def call(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """``python -m unimatch.NAME ARGUMENTS...`` in this process; its exit status."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [f"unimatch.{name}", *arguments])
        try:
            result = importlib.import_module(f"unimatch.{name}").main()
        except SystemExit as end:
            result = end.code
    return result or 0


# What a page may take as given, by the name in its comment `before`.


def photos(folder: Path) -> None:
    """``photos/``: 12 images with masks in ``images/ masks/``, 12 more in ``unlabeled/``, ``classes.txt``."""
    write_photos(folder / "photos/images", folder / "photos/masks", folder / "photos/unlabeled")
    (folder / "photos/classes.txt").write_text("\n".join(digit_scenes().info.classes) + "\n")


def validation(folder: Path) -> None:
    """``photos/val/``: three validation images with masks."""
    write_photos(folder / "photos/val/images", folder / "photos/val/masks", None, count=3)


def three_folders(folder: Path) -> None:
    """The same in ``IMAGES``, ``MASKS`` and ``MORE_IMAGES``, of three classes."""
    write_photos(folder / "IMAGES", folder / "MASKS", folder / "MORE_IMAGES", classes=3)


def write_photos(images: Path, masks: Path, unlabeled: Path | None, *, count: int = 12, classes: int = 11) -> None:
    """Some labelled and, if asked for, as many unlabelled scenes."""
    data = digit_scenes()
    for folder in filter(None, (images, masks, unlabeled)):
        folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(data.labeled.image(i)).save(images / f"{i:03d}.jpg", quality=95)
        Image.fromarray(np.minimum(data.labeled.mask(i), classes - 1)).save(masks / f"{i:03d}.png")
        if unlabeled:
            Image.fromarray(data.unlabeled.image(i)).save(unlabeled / f"{i:03d}.jpg", quality=95)


def digit_scenes() -> Any:
    """24 scenes of 64 x 64 pixels."""
    import unimatch

    return unimatch.data.digits(labeled=12, train=24, val=1, size=64)


def checkpoint(folder: Path) -> None:
    """``best.ckpt`` and ``RUN/checkpoints/best.ckpt``, trained on ``CAMVID/``, which is there too."""
    make_camvid(folder / "CAMVID")
    for place in ("best.ckpt", "RUN/checkpoints/best.ckpt"):
        save_run(folder / place, folder / "CAMVID")


def video(folder: Path) -> None:
    """``drive.mp4``: three frames."""
    import cv2

    writer = cv2.VideoWriter(str(folder / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5, (64, 48))
    for i in range(3):
        writer.write(np.full((48, 64, 3), 60 * i, np.uint8))
    writer.release()


BEFORE: dict[str, Callable[[Path], None]] = {
    "photos": photos,
    "photos/val": validation,
    "IMAGES MASKS MORE_IMAGES": three_folders,
    "best.ckpt RUN CAMVID": checkpoint,
    "drive.mp4": video,
}
