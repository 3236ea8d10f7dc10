import json
import re
from pathlib import Path

import pytest

from helpers.pages import PAGES, ROOT, SHOWN, TAKE_FILES, Block, blocks, follow, lines, unimatch_command
from helpers.support import rest_nightly

KEPT = ("README.md",)
"""Pages whose code and commands the suite tries; the other pages' at night."""

BLOCKS = [block for page in PAGES for block in blocks(page)]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def label(block: Block) -> str:
    return f"{name(block.page)}:{block.line}"


def runs(page: Path) -> bool:
    if page.name == "second_round.md":
        return False  # tests/system/test_second_round.py follows it, and looks at what it makes
    return any(not block.not_run and (block.title or block.language in ("python", "bash")) for block in blocks(page))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [page if name(page) in KEPT else pytest.param(page, marks=pytest.mark.nightly) for page in PAGES if runs(page)],
    ids=name,
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    follow(page, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_says_what_it_is(page):
    text = page.read_text()
    assert text.count("```") == 2 * len(list(blocks(page))), "a fence that does not begin its line, or no pair"
    for block in blocks(page):
        assert block.language, f"{label(block)}: bash, python (both are run) or text?"
        assert block.language in ("python", "bash", *SHOWN), f"{label(block)}: {block.language}"
        if block.language != "bash":
            assert "python -m unimatch" not in block.code, f"{label(block)}: commands are bash, which is run"
    kinds = {comment.partition(":")[0] for comment in re.findall(r"<!-- (.*?) -->", text)}
    assert kinds <= {"before", "not run", "run with", "source"}, f"{name(page)}: {kinds}"


WIDEST = 80
"""Characters of a line of code that fit beside the site's two columns on a screen of 1,280 pixels."""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_code_fits_the_page(page):
    for block in blocks(page):
        for line in block.code.splitlines():
            assert len(line) <= WIDEST or len(line.rstrip(" \\").split()) == 1, (
                f"{label(block)}: {len(line)} characters: {line}"
            )


def test_code_of_notebooks_fits_the_page():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] == "code":
                wide = [line for line in "".join(cell["source"]).splitlines() if len(line) > WIDEST]
                assert wide == [], path.name


NAMED = {
    (command[0], *sorted(command[1])): (label(block), *command)
    for block in BLOCKS
    if block.language == "bash" and not block.title
    for command in map(unimatch_command, lines(block.code))
    if command and command[0] not in TAKE_FILES
}.values()


@pytest.mark.parametrize(
    ("where", "command", "arguments"),
    rest_nightly(NAMED, [each for each in NAMED if each[0].startswith(KEPT)]),
    ids=[f"{each[0]}-{each[1]}" for each in NAMED],
)
def test_commands_name_real_settings(where, command, arguments):
    """Those of blocks that cannot run here too."""
    from unimatch.cli.overrides import check_overrides

    if not any(argument.startswith("--") for argument in arguments):
        check_overrides(command, arguments)


def test_the_rules_catch_what_they_are_for(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- run with: seed=2 -->\n```bash\npython -m unimatch.run seed=1 \\\n  method=fixmatch\nls\n```\n"
    )
    (block,) = blocks(page)
    assert (block.language, block.run_with, block.line) == ("bash", ("seed=2",), 2)
    assert [unimatch_command(line) for line in lines(block.code)] == [("run", ["seed=1", "method=fixmatch"]), None]
    page.write_text("```bash\nfalse\n```\n")
    with pytest.raises(AssertionError, match=r"page.md:1: false"):
        follow(page, tmp_path, monkeypatch)
    page.write_text("1.  step\n\n    ```python\n    answer = 1 / 0\n    ```\n")
    with pytest.raises(ZeroDivisionError):
        follow(page, tmp_path, monkeypatch)
    page.write_text("<!-- not run: takes a GPU -->\n```bash\nfalse\n```\n")
    follow(page, tmp_path, monkeypatch)
    page.write_text("```bash\npython -m unimatch.compare nowhere\n```\n")
    with pytest.raises(AssertionError, match="status 2"):
        follow(page, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_and_pages_that_a_page_links_to_exist(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            path = (page.parent / target).resolve()
            assert path in GENERATED or is_notebooks_picture(path) or path.exists(), target


GENERATED = {
    ROOT / "docs/configuration.md",
    *(ROOT / "docs/notebooks" / f"{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")),
}
"""Pages that docs/hooks.py makes when the site is built."""


def is_notebooks_picture(path):
    """Which docs/hooks.py takes out of the notebook; `mkdocs build --strict` says if it is missing."""
    name = re.fullmatch(r"(\w+)_\d+\.(?:jpeg|png)", path.name)
    return path.parent == ROOT / "docs/notebooks" and bool(name) and (ROOT / f"notebooks/{name[1]}.ipynb").exists()


def test_make_targets_that_pages_name_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = [(ROOT / page).read_text() for page in ("README.md", "CONTRIBUTING.md", "docs/tutorial.md")]
    named = {target for text in texts for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)}
    assert {"install", "demo", "test", "check", "docs"} <= named <= targets


def test_every_page_is_in_the_sites_navigation():
    import yaml

    class Loader(yaml.SafeLoader):
        """Names of Python objects in mkdocs.yml are left alone."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, suffix, node: suffix)
    nav = json.dumps(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"])
    named = set(re.findall(r'"([\w/]+\.md)"', nav))
    there = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert {ROOT / "docs" / target for target in named} == there | GENERATED, "mkdocs.yml: nav"


def test_the_readme_lists_what_a_run_leaves(finished_run):
    listed = (ROOT / "README.md").read_text().partition("## What a run leaves")[2].partition("\n\n`logger=")[0]
    for path in finished_run.iterdir():
        assert f"`{path.name}{'/' * path.is_dir()}" in listed, path.name
    written = re.findall(r'run_dir / "([\w.]+)"', "".join(p.read_text() for p in (ROOT / "src/unimatch").rglob("*.py")))
    assert len(written) > 10
    for file in written:
        assert f"`{file}" in listed, file


def test_each_test_that_the_reliability_page_names_exists():
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "reliability.md").read_text()))
    assert len(named) > 25
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), test


@pytest.mark.nightly
def test_settings_that_a_page_names_in_its_text_exist():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from unimatch.cli.overrides import config_groups, known_keys

    groups = config_groups()
    parse = OverridesParser.create().parse_override
    keys = {
        key
        for command in ("evaluate", "predict", "export", "check", "select", "split")
        for key in known_keys(command, [], [])
    }
    for group in ("callbacks", "dataset", "encoder", "logger", "method", "trainer"):
        for option in groups[group]:
            keys |= set(known_keys("run", [parse(f"{group}={option}")], []))
    wrong = [
        f"{name(page)}: {key}"
        for page in PAGES
        for code in re.findall(r"`([^`\n]+)`", page.read_text())
        for key in re.findall(r"(?<![\w./+-])([a-z_]+\.[\w.]+)=", code)
        if key not in keys and not key.startswith("hydra.")
    ]
    assert not wrong
