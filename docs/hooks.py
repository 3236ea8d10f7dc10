"""What mkdocs adds while it builds the site: the configuration's reference, source code, and the notebooks."""

import ast
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
COMMANDS = (
    "run",
    "evaluate",
    "predict",
    "export",
    "app",
    "check",
    "split",
    "select",
    "round",
    "prepare",
    "labels",
)
INTRODUCTION = """# Configuration

Each command `python -m unimatch.NAME` takes settings as `KEY=VALUE`; a name that does not exist is answered with the
closest one that does. `--help` lists what people change, `--cfg job` prints the whole configuration as it will be.

This page is made from `conf/` when the site is built: keys, their values, and the comments beside them. `${KEY}` stands
for another key's value. A key whose value is `???` must be given.
"""
GROUPS = """## Groups of `run`

`GROUP=OPTION` chooses a file `conf/GROUP/OPTION.yaml`. `dataset` is a group of the other commands too.
"""

Key = tuple[str, str, str]
"""A key's whole name, its value as written, and its comment."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    files.append(
        File.generated(config, "configuration.md", content=configuration())
    )
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for name, content in notebook_files(path).items():
            files.append(
                File.generated(config, f"notebooks/{name}", content=content)
            )
    return files


def on_post_template(
    output_content: str, template_name: str, config: MkDocsConfig
) -> str:
    """Leaves out the theme's 404 page: its links begin at a server's root, and this site is one of the disk."""
    return "" if template_name == "404.html" else output_content


def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Put source code in place of ``<!-- source: FILE NAME -->``, NAME such as ``Class.method``."""
    return re.sub(
        r"^<!-- source: (\S+) (\S+) -->$",
        lambda match: source(match[1], match[2]),
        markdown,
        flags=re.M,
    )


def source(file: str, name: str) -> str:
    """The code of a function, method or class as a block, without its docstring.

    Raises:
        PluginError: there is none of that name.
    """
    text = (ROOT / "src/unimatch" / file).read_text()
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        found = [
            child
            for child in ast.iter_child_nodes(node)
            if getattr(child, "name", None) == part
        ]
        if not found:
            raise PluginError(f"src/unimatch/{file} has no {name}")
        node = found[0]
    assert isinstance(node, (ast.FunctionDef, ast.ClassDef))
    lines = text.splitlines()
    start = (
        min(
            [
                node.lineno,
                *(decorator.lineno for decorator in node.decorator_list),
            ]
        )
        - 1
    )
    shown = lines[start : node.end_lineno]
    if ast.get_docstring(node) is not None:
        docstring = node.body[0]
        del shown[
            docstring.lineno - 1 - start : (
                docstring.end_lineno or docstring.lineno
            )
            - start
        ]
    code = narrow(textwrap.dedent("\n".join(shown)))
    return f'```python title="src/unimatch/{file}: {name}"\n{code}\n```'


def narrow(code: str) -> str:
    """Code in lines of at most 80 characters, as fit on the page; without ruff as it is."""
    ruff = shutil.which(
        "ruff",
        path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    )
    if ruff is None:
        return code
    return subprocess.run(
        [ruff, "format", "--isolated", "--line-length", "80", "-"],
        input=code,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.rstrip()


def configuration() -> str:
    """The reference of all commands and groups."""
    parts = [INTRODUCTION]
    for command in COMMANDS:
        file = CONF / f"{command}.yaml"
        parts += [
            f"## `{command}`",
            first_comment(file),
            table([*keys(file), *base_keys(file)]),
        ]
        if command == "run":
            parts += [
                GROUPS,
                *(
                    group(folder)
                    for folder in sorted(CONF.iterdir())
                    if is_group(folder)
                ),
            ]
    return "\n\n".join(parts)


def base_keys(file: Path) -> Iterator[Key]:
    """The keys that a command's file has of the bases ``conf/_NAME.yaml`` in its defaults."""
    for name in re.findall(
        r"\b_\w*[a-z]\b",
        re.search(r"^defaults:.*", file.read_text(), re.MULTILINE)[0],
    ):
        base = CONF / f"{name}.yaml"
        if base.is_file():
            package = re.search(
                r"^# @package (\w+)$", base.read_text(), re.MULTILINE
            )
            yield from (
                (f"{package[1]}.{key}" if package else key, *rest)
                for key, *rest in keys(base)
            )


def is_group(folder: Path) -> bool:
    """Whether a folder of ``conf/`` holds options."""
    return any(folder.glob("*.yaml"))


def group(folder: Path) -> str:
    """A group's options, and the keys they set."""
    options = {
        file.stem: file
        for file in sorted(folder.glob("*.yaml"))
        if not file.stem.startswith("_")
    }
    lines = ["| option | what it is |", "| --- | --- |"]
    lines += [
        f"| `{name}` | {escape(first_comment(file))} |"
        for name, file in options.items()
    ]
    merged: dict[str, dict[str, Key]] = {}
    numbers = folder / "_numbers.yaml"  # what holds for all options
    for name, file in [
        *([("", numbers)] if numbers.exists() else []),
        *options.items(),
    ]:
        for part in [*bases(file), file]:
            package = re.search(
                r"^# @package (\S+)$", part.read_text(), re.MULTILINE
            )
            prefix = f"{package[1] if package else folder.name}.".removeprefix(
                "_global_."
            )
            for key, value, comment in keys(part):
                merged.setdefault(prefix + key, {})[name] = (
                    prefix + key,
                    value,
                    comment,
                )
    rows = []
    for key, by_option in merged.items():
        values = {value for _, value, _ in by_option.values()}
        differs = f"differs between the {len(by_option)} files that set it"
        if len(by_option) <= 3:
            differs = "; ".join(
                f"{name}: {value}" if name else value
                for name, (_, value, _) in by_option.items()
            )
        comments = dict.fromkeys(
            comment for _, _, comment in by_option.values() if comment
        )
        rows.append(
            (
                key,
                values.pop() if len(values) == 1 else differs,
                "; ".join(comments),
            )
        )
    return f"### `{folder.name}=`\n\n" + "\n".join(lines) + "\n\n" + table(rows)


def bases(file: Path) -> list[Path]:
    """The files ``_NAME.yaml`` beside a configuration file that its defaults begin with, and theirs before them."""
    entries = (yaml.safe_load(file.read_text()) or {}).get("defaults", [])
    named = [
        file.with_name(f"{entry}.yaml")
        for entry in entries
        if isinstance(entry, str) and entry[0] == "_"
    ]
    return [
        part for base in named if base.exists() for part in [*bases(base), base]
    ]


def keys(file: Path) -> Iterator[Key]:
    """The keys of a configuration file, those of ``hydra`` and ``defaults`` left out."""
    path: list[tuple[int, str]] = []
    above: list[str] = []
    # The comment at the top is about the file, not about its first key.
    for line in dropwhile(
        lambda line: line.startswith("#"), file.read_text().splitlines()
    ):
        match = re.match(
            r"( *)(\w[\w.]*):(?: +([^#\s].*?))?(?: +# (.*))?$", line
        )
        if line.startswith("#") and "@package" not in line:
            above.append(line.removeprefix("#").strip())
        if not line.strip():
            above = []
        if match is None:
            continue
        indent, name, value, comment = (
            len(match[1]),
            match[2],
            match[3],
            match[4],
        )
        path = [(depth, part) for depth, part in path if depth < indent] + [
            (indent, name)
        ]
        if path[0][1] in ("hydra", "defaults") or name == "_convert_":
            continue
        if value is not None or comment:
            yield (
                ".".join(part for _, part in path),
                value or "",
                comment or " ".join(above if indent == 0 else []),
            )
        elif above and indent == 0:
            yield name, "", " ".join(above)
        above = []


def table(rows: Iterator[Key] | list[Key]) -> str:
    """Keys as a Markdown table; empty without any."""
    lines = []
    for key, value, comment in rows:
        shown = (
            value
            if value.startswith("differs")
            else f"`{escape(value)}`"
            if value
            else ""
        )
        lines.append(f"| `{key}` | {shown} | {escape(comment)} |")
    return (
        "\n".join(
            ["| key | value | what it is |", "| --- | --- | --- |", *lines]
        )
        if lines
        else ""
    )


def escape(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def first_comment(file: Path) -> str:
    """What a configuration file says of itself in the comment at its top."""
    lines = []
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(
        line for line in lines if line and not line.startswith("@package")
    )


def notebook_files(path: Path) -> dict[str, str | bytes]:
    """A notebook as a Markdown page and the pictures on it, by file name."""
    parts, pictures = [], {}
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"]).replace("](../docs/", "](../")
        parts.append(
            text
            if cell["cell_type"] == "markdown"
            else f"```python\n{text}\n```"
        )
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            image = next(
                (kind for kind in ("png", "jpeg") if f"image/{kind}" in data),
                None,
            )
            if image:
                name = f"{path.stem}_{len(pictures)}.{image}"
                pictures[name] = base64.b64decode(
                    "".join(data[f"image/{image}"])
                )
                parts.append(f"![output]({name})")
            else:
                shown = "".join(
                    output.get("text") or data.get("text/plain", "")
                )
                parts.append(f"```text\n{shown.rstrip()}\n```")
    parts.insert(1, f"*The notebook is `notebooks/{path.name}`.*")
    return {f"{path.stem}.md": "\n\n".join(parts) + "\n", **pictures}
