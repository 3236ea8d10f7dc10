"""The page that says how to add a task, followed."""

import json
import re
import sys
from pathlib import Path

import pytest

import unimatch
from helpers.places import ROOT
from helpers.support import SMALL, read_summary
from unimatch.models.descriptions import MODELS
from unimatch.tasks import TASKS

PAGE = ROOT / "docs" / "tasks.md"


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The module that the page's Python makes, and the settings of its command."""
    text = PAGE.read_text()
    (tmp_path / "my_tasks.py").write_text(re.search(r'```python title="my_tasks.py"\n(.*?)```', text, re.DOTALL)[1])
    monkeypatch.syspath_prepend(tmp_path)
    before = dict(MODELS), dict(TASKS)
    yield re.search(r"python -m unimatch.run ((?:.*\\\n)*.*)", text)[1].replace("\\\n", " ").split()
    for registry, content in zip((MODELS, TASKS), before, strict=True):
        registry.clear()
        registry.update(content)
    sys.modules.pop("my_tasks", None)


def test_a_task_added_as_the_page_says_trains_is_scored_and_comes_back(page, run_command, monkeypatch, tmp_path):
    steps = ["trainer.max_steps=4", "trainer.val_check_interval=2"]
    run_dir = run_command(*SMALL, *page, *steps, "method=unimatch_v1")
    summary = read_summary(run_dir)
    evaluations = [json.loads(line) for line in (run_dir / "evaluations.jsonl").read_text().splitlines()]
    best = max(evaluation["teacher"]["dice"] for evaluation in evaluations)
    assert (summary["task"], summary["headline"], summary["teacher/dice_best"]) == ("foreground", "dice", best)
    assert len(summary["student/recall"]) == 11
    header = (run_dir / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"student/dice", "teacher/dice"} <= set(header)

    from unimatch.evaluate import main

    checkpoint = run_dir / "checkpoints" / "last.ckpt"
    arguments = [
        f"checkpoint={checkpoint}",
        f"output={tmp_path / 'scores.json'}",
        "workers=0",
        "trainer.accelerator=cpu",
    ]
    monkeypatch.setattr(sys, "argv", ["unimatch.evaluate", *arguments])
    main()
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["teacher"]["dice"] == pytest.approx(evaluations[-1]["teacher"]["dice"])
    matrix = found["teacher"]["confusion"]
    truth, predicted = sum(matrix[1]), sum(row[1] for row in matrix)
    assert found["teacher"]["dice"] == pytest.approx(200 * matrix[1][1] / max(1, truth + predicted))


def test_a_task_without_a_data_module_is_refused(run_command, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command(*SMALL, "~datamodule._target_")
    assert stopped.value.code == 2
    assert "datamodule._target_: missing; it names the class" in capsys.readouterr().err


def test_no_method_asks_which_task_it_trains():
    files = list((Path(unimatch.__file__).parent / "methods").glob("*.py"))
    assert len(files) > 5
    for file in files:
        assert not re.search(r"if .*\btask\b", file.read_text()), file
