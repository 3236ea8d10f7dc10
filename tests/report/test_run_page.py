import base64
import json
import re
import time
from html.parser import HTMLParser

import pytest

from helpers.runs import HOSTILE, make_run
from helpers.support import rest_nightly
from unimatch.compare import main as compare
from unimatch.errors import DataError
from unimatch.report import write_report
from unimatch.report.__main__ import main as report
from unimatch.report.run_files import read_run


class Elements(HTMLParser):
    """Collects what a browser would make elements of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_names_of_users_are_text_and_never_elements(tmp_path):
    text = write_report(make_run(tmp_path / "run")).read_text()
    elements = Elements(text).found
    assert not [name for name, _ in elements if name in ("iframe", "object")]
    scripts = [attributes.get("type") for name, attributes in elements if name == "script"]
    assert scripts.pop() is None  # the page's own, under its hash
    assert set(scripts) == {"application/json"}
    assert not [attributes for _, attributes in elements if any(key.startswith("on") for key in attributes)]
    assert all(attributes["src"].startswith("data:image/") for name, attributes in elements if name == "img")
    assert HOSTILE[0].replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") in text


def test_nothing_is_loaded_from_anywhere(tmp_path):
    text = write_report(make_run(tmp_path / "run")).read_text()
    links = [
        value for _, attributes in Elements(text).found for key, value in attributes.items() if key in ("src", "href")
    ]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"url\(|@import", text)
    policy = next(attributes["content"] for _, attributes in Elements(text).found if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-")
    assert "connect-src" not in policy


def test_each_part_is_there_and_pictures_come_from_the_runs_own_folder_only(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    text = write_report(make_run(tmp_path / "run")).read_text()
    assert re.findall(r"<h2>([^<]*)</h2>", text) == [
        "Training", "Pseudo labels", "Classes", "Classes over training", "Confusion", "Validation images",
        "Unlabelled images", "Training views", "Time and place", "Configuration",
    ]  # fmt: skip
    # Three cards of a photograph and four layers, and a row of two with a mask; what leaves the folder is left out.
    assert text.count("<img") == 3 * 5 + 3
    assert "1.5" in text  # steps per second: 300 / (250 - 50)
    assert "method.tau" in text


@pytest.mark.parametrize(
    ("task", "headline", "per_class", "unit", "title"),
    [
        ("segmentation", "miou", "iou", "pixels", "mIoU"),
        ("change", "changed_iou", "iou", "pixels", "changed-class IoU"),
        ("classification", "top1", "recall", "images", "top-1"),
        (None, "miou", "iou", "pixels", "mIoU"),  # a run of before tasks had names
    ],
)
def test_a_report_speaks_of_what_its_task_counts(tmp_path, task, headline, per_class, unit, title):
    run = make_run(tmp_path / "run")
    for name in ("summary.json", "evaluations.jsonl"):
        text = (run / name).read_text().replace("miou", headline).replace('"iou"', f'"{per_class}"')
        (run / name).write_text(text)
    summary = (run / "summary.json").read_text()
    known = "" if task is None else f'"task": "{task}", "headline": "{headline}", '
    (run / "summary.json").write_text(summary.replace('"method"', f'{known}"method"', 1))
    text = write_report(run).read_text()
    other = {"pixels": "images", "images": "pixels"}[unit]
    for said in (
        f"confident {unit}",
        f"confident, all {unit}",
        f"{unit}, %",
        f"{title} on validation",
        f"the {unit} of one",
    ):
        assert said in text
        assert said.replace(unit, other) not in text or unit not in said


@pytest.mark.parametrize("classes", [["only"], [f"class {i}" for i in range(150)]])
def test_one_class_and_many_classes(tmp_path, classes):
    text = write_report(make_run(tmp_path / "run", classes=classes, examples=len(classes) > 1)).read_text()
    assert classes[-1] in text
    assert len(text) < 2_200_000
    assert ("126 further classes" in text) == (len(classes) == 150)


def test_a_run_without_anything_but_its_summary(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    assert "<h1>" in write_report(tmp_path).read_text()


def put(name, text):
    return lambda run: (run / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def edit(name, **values):
    def change(run):
        content = json.loads((run / name).read_text().splitlines()[-1])
        (run / name).write_text(json.dumps({**content, **values}))

    return change


DEEP = "[" * 10**5


@pytest.mark.parametrize(
    "damage",
    [
        put("summary.json", "[]"), put("summary.json", DEEP), put("summary.json", b"\xff\x00"),
        put("config.json", "[1]"), put("config.json", '{"a":' * 500 + "1" + "}" * 500), put("config.json", "5"),
        put("evaluations.jsonl", "[]\n"), put("evaluations.jsonl", "null\n"), put("evaluations.jsonl", DEEP),
        put("evaluations.jsonl", "{}\n{}\n"), edit("evaluations.jsonl", step=[1]),
        edit("evaluations.jsonl", teacher=[1]), edit("evaluations.jsonl", teacher={"iou": {"a": []}}),
        edit("summary.json", steps=[]), edit("summary.json", seconds="long"), edit("summary.json", versions=[1]),
        edit("summary.json", **{"teacher/miou": {}}), edit("summary.json", task=[1]), edit("summary.json", seconds=[]),
        put("confusion.csv", "truth,a\na,1\n"), put("confusion.csv", "truth,a\na,x\n"),
        put("confusion.csv", b"\x00\xff,\n" * 9), put("confusion.csv", 'truth,"' + "x" * 200_000),
        put("metrics.csv", 'step,"' + "x" * 200_000 + '"\n'), put("examples/examples.json", "[]"),
        put("examples/examples.json", '{"validation": 1}'),
        put("examples/examples.json", '{"views": [{"cells": [1]}]}'),
        put("examples/examples.json", '{"palette": [["a"]]}'),
    ],
)  # fmt: skip
def test_what_unimatch_does_not_write_is_one_line_that_names_the_run(damage, tmp_path, capsys):
    run = make_run(tmp_path / "run")
    damage(run)
    assert report([str(run)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"unimatch: {run}")
    assert said.count("\n") == 1
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    "name", ["summary.json", "config.json", "evaluations.jsonl", "confusion.csv", "examples/examples.json"]
)
def test_a_file_that_is_no_text_is_named(name, tmp_path, capsys):
    run = make_run(tmp_path / "run")
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_bytes(b"\xff\xfe")
    assert report([str(run)]) == 2
    assert f"({name.rpartition('/')[2]}: 'utf-8' codec can't decode" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
def test_losses_that_are_not_finite_are_left_out_of_the_charts(value, tmp_path):
    run = make_run(tmp_path / "run")
    (run / "metrics.csv").write_text(f"step,train/loss,train/loss_x\n0,{value},1.5\n2,{value},{value}\n")
    assert read_run(run).curves == {"train/loss_x": [(0.0, 1.5)]}
    assert "Losses" in write_report(run).read_text()


@pytest.mark.parametrize(
    "end", ["4,0.2", "4,0.25,0.", '4,"0.2', "4", "4,0.2\n", "x,0.2,0.3\n", "4,x,\n", "\0\xff\n,,,,\n"]
)
def test_a_row_of_metrics_that_is_cut_or_garbage_leaves_the_others(end, tmp_path):
    run = make_run(tmp_path / "run")
    with (run / "metrics.csv").open("w") as file:
        file.write(f"step,train/loss,train/loss_x\n0,1,2\n2,0.5,1\n{end}")
    assert read_run(run).curves == {"train/loss": [(0, 1), (2, 0.5)], "train/loss_x": [(0, 2), (2, 1)]}
    assert write_report(run).exists()


def test_names_that_are_too_long_for_a_folder_are_one_line(capsys):
    for command in (report, compare):
        assert command(["long" * 1000]) == 2
        assert capsys.readouterr().err.startswith("unimatch: ")


def test_pictures_and_files_that_links_take_from_elsewhere_are_not_shown(tmp_path):
    run = make_run(tmp_path / "run")
    victim = tmp_path / "victim.png"
    victim.write_bytes(b"secret of the victim")
    picture = run / "examples" / "a.jpg"
    (tmp_path / "latest").symlink_to(run)  # the run directory itself may be a link
    assert "data:image" in write_report(tmp_path / "latest").read_text()
    picture.unlink()
    picture.symlink_to(victim)
    assert base64.b64encode(victim.read_bytes()).decode() not in write_report(run).read_text()
    (tmp_path / "private.json").write_text('{"token": "secret"}')
    (run / "config.json").unlink(missing_ok=True)
    (run / "config.json").symlink_to(tmp_path / "private.json")
    with pytest.raises(DataError, match=r"config\.json: is a link that leads out of the run directory"):
        write_report(run)


def test_a_report_is_written_through_no_link(tmp_path):
    run, victim = make_run(tmp_path / "run"), tmp_path / "victim"
    victim.write_text("old")
    for name in (".report.html.tmp", "report.html"):
        (run / name).symlink_to(victim)
    write_report(run)
    assert victim.read_text() == "old"
    assert not (run / "report.html").is_symlink()


def many_pictures(run):
    cells = [{"caption": "", "file": "a.jpg"}] * 12_000
    example = {"title": "x" * 200_000, "photos": [["", "a.jpg"]] * 12_000}
    content = {"views": [{"title": "x" * 200_000, "cells": cells}], "validation": [example]}
    (run / "examples" / "examples.json").write_text(json.dumps(content))


def long_settings(run):
    config = {f"{i}": 0 for i in range(20_000)}
    for _ in range(50):
        config = {"x" * 10_000: config}
    (run / "config.json").write_text(json.dumps(config))


def many_classes(run):
    (run / "confusion.csv").unlink()
    scores = dict.fromkeys(map(str, range(20_000)), 1)
    last = {"step": 1, "teacher": {"iou": scores}, "pseudo_label": {"share": 1, "class_share": scores}}
    lines = ['{"step":1}'] * 20_000 + [json.dumps(last)]
    (run / "evaluations.jsonl").write_text("\n".join(lines))


@pytest.mark.parametrize("enlarge", rest_nightly([many_pictures, long_settings, many_classes], [many_pictures]))
def test_a_small_file_makes_no_page_without_end(enlarge, tmp_path):
    run = make_run(tmp_path / "run")
    enlarge(run)
    assert max(path.stat().st_size for path in run.rglob("*")) < 1_000_000
    begun = time.process_time()
    assert len(write_report(run).read_text()) < 20_000_000
    compare(["--html", str(tmp_path / "page.html"), str(run)])
    assert time.process_time() - begun < 20


def test_what_a_log_and_the_names_of_files_say_is_text(tmp_path):
    run = make_run(tmp_path / "run<img onerror=1>\u2028")
    (run / "run.log").write_text("[x][unimatch][WARNING] - </script><img src=x onerror=1>\u2028 end\r\x1b[31m\n")
    page = tmp_path / "page.html"
    assert compare(["--html", str(page), str(run)]) == 0
    for text in (write_report(run).read_text(), page.read_text()):
        elements = Elements(text).found
        assert not [one for one in elements if any(key.startswith("on") for key in one[1])]
        assert text.count("<script") == text.count("</script>")
    assert "&lt;/script&gt;&lt;img src=x onerror=1&gt;" in write_report(run).read_text()


def test_what_is_printed_has_no_control_characters(tmp_path, capsys):
    run = make_run(tmp_path / "run\x1b[31m\u2028")
    assert report([str(run)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_classes_have_switches_only_where_pictures_have_layers(tmp_path):
    run = make_run(tmp_path / "run")
    assert "<legend>Classes</legend>" in write_report(run).read_text()
    path = run / "examples" / "examples.json"
    content = json.loads(path.read_text())
    cells = [{"caption": "image", "file": "a.jpg"}]  # as earlier versions wrote them
    content |= {"validation": [{"title": "best", "present": [0], "cells": cells}], "unlabeled": []}
    path.write_text(json.dumps(content))
    text = write_report(run).read_text()
    assert "<legend>Classes</legend>" not in text
    assert "best: image" in text
