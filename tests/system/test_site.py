"""What docs/hooks.py and docs/docstrings.py make of configurations, sources, notebooks and docstrings."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys

import pytest

from helpers.browser import headless, resize, violations
from helpers.pages import PAGES, ROOT

pytest.importorskip("mkdocs")
pytest.importorskip("griffe")


def load(name):
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks, docstrings = load("hooks"), load("docstrings")


def test_keys_of_a_configuration(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "# What it is.\n\ndefaults:\n  - _self_\n\n# Of everything.\nseed: 0\n\n"
        "node:\n  _target_: a.B\n  rate: [0.5, 2.0] # lowest, highest\n  deep:\n    flag: null\n\n"
        "# Whole node.\nother: # beside\n  x: 1\n\nhydra:\n  run:\n    dir: .\n"
    )
    assert list(hooks.keys(file)) == [
        ("seed", "0", "Of everything."),
        ("node._target_", "a.B", ""),
        ("node.rate", "[0.5, 2.0]", "lowest, highest"),
        ("node.deep.flag", "null", ""),
        ("other", "", "beside"),
        ("other.x", "1", ""),
    ]
    assert hooks.first_comment(file) == "What it is."


def test_the_configuration_page_has_every_command_and_every_key_of_run():
    from unimatch.cli.overrides import config_groups, known_keys

    page = hooks.configuration()
    commands = {file.stem for file in hooks.CONF.glob("[!_]*.yaml")}
    assert commands == set(hooks.COMMANDS)
    assert all(f"## `{command}`" in page for command in commands)
    for group, options in config_groups().items():
        assert f"### `{group}=`" in page
        for option in options:
            assert f"| `{option}` |" in page
    shown = set(re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE))
    for key in known_keys("run", [], []):
        assert key.endswith("_convert_") or key in shown or any(name.startswith(f"{key}.") for name in shown), key


def test_source_is_the_function_without_its_docstring():
    code = hooks.source("models/dropout.py", "drop_channels")
    assert code.splitlines()[1].startswith("def drop_channels(")
    assert "return [\n        level * mask" in code
    assert max(map(len, code.splitlines()[1:])) <= 80
    assert '"""' not in code
    assert hooks.source("methods/semi_supervised.py", "SemiSupervised.pseudo_labels").splitlines()[1] == (
        "@torch.no_grad()"
    )
    with pytest.raises(hooks.PluginError, match="no nothing"):
        hooks.source("models/dropout.py", "nothing")


def test_every_source_that_a_page_asks_for_is_there():
    asked = [
        match
        for page in PAGES
        if "docs" in page.parts
        for match in re.findall(r"^<!-- source: (\S+) (\S+) -->$", page.read_text(), re.MULTILINE)
    ]
    assert len(asked) > 5
    for file, name in asked:
        shown = hooks.source(file, name).splitlines()[1:]  # the first holds the title
        assert max(map(len, shown)) <= 80, (file, name)


def test_notebooks_become_pages_with_their_pictures():
    files = hooks.notebook_files(ROOT / "notebooks" / "inside_the_method.ipynb")
    page = files["inside_the_method.md"]
    assert page.startswith("# Inside the method\n")
    pictures = re.findall(r"!\[output\]\((\w+\.jpeg)\)", page)
    assert len(pictures) > 3
    assert all(files[name].startswith(b"\xff\xd8") for name in pictures)


def test_a_page_that_only_a_server_can_show_is_left_out():
    assert hooks.on_post_template("<html>", template_name="404.html", config=None) == ""
    assert hooks.on_post_template("<html>", template_name="sitemap.xml", config=None) == "<html>"


def test_docstrings_for_markdown():
    text = "See :func:`unimatch.data.digits` and ``x``.\n\n>>> 1 + 1\n2\n"
    assert docstrings.for_markdown(text) == "See `unimatch.data.digits` and `x`.\n\n```pycon\n>>> 1 + 1\n2\n\n```"


def test_what_runs_the_search_from_the_disk_is_ours():
    """Else the plugin ``offline`` names one that browsers would fetch from elsewhere."""
    config = (ROOT / "mkdocs.yml").read_text()
    assert "  - offline" in config
    assert "polyfills: [iframe-worker.js]" in config
    assert (ROOT / "docs" / "iframe-worker.js").is_file()


@pytest.mark.nightly  # the suite looks at the settings; this builds the whole site
@pytest.mark.slow
def test_the_site_from_the_disk(tmp_path):
    """Its search finds, no line of code is cut off, axe-core finds nothing, and pages are dark where the system is."""
    from selenium.webdriver.support.wait import WebDriverWait

    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    subprocess.run(command, cwd=ROOT, check=True, env=environment, capture_output=True)
    assert not (tmp_path / "site" / "404.html").exists()  # without a style where it is opened from the disk
    with headless() as browser:
        pages = ("index", "tutorial", "gallery", "app", "performance", "new_encoder")
        for page, mode in itertools.product(pages, ("light", "dark")):
            features = [{"name": "prefers-color-scheme", "value": mode}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            browser.get(f"file://{tmp_path}/site/{page}.html")
            scheme = {"light": "default", "dark": "slate"}[mode]  # of the system, also after another one
            assert browser.execute_script("return document.body.dataset.mdColorScheme") == scheme
            assert violations(browser) == [], (page, mode)
            resize(browser, (390, 844))
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        resize(browser, (1280, 900))
        browser.get(f"file://{tmp_path}/site/method.html")
        cut = "return [...document.querySelectorAll('pre code')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        assert browser.execute_script(f"{cut}.map(e => e.textContent)") == []
        field = browser.find_element("css selector", ".md-search__input")
        browser.execute_script("document.querySelector('[data-md-toggle=search]').click()")
        field.send_keys("complementary dropout")
        found = ".md-search-result__item"
        WebDriverWait(browser, 60).until(lambda _: browser.find_elements("css selector", found))
        assert "dropout" in browser.find_element("css selector", found).text.lower()
