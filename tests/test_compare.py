import json
import math
import re

import pytest

from helpers.runs import make_run
from unimatch.compare import load_runs, main
from unimatch.compare import table as table_of
from unimatch.report.compare_rows import compare_groups, differing_settings, group_runs, pairs_of, spread


def table(runs) -> str:
    return table_of(compare_groups(group_runs(runs)))


def write_run(place, *, seed, teacher, method="unimatch_v2", tau=0.8, **more):
    place.mkdir(parents=True)
    summary = {
        "method": method,
        "dataset": "digits",
        "encoder": "tiny",
        "labeled": 64,
        "steps": 100,
        "seed": seed,
        "finished": True,
        "teacher/miou": teacher,
        "student/miou": teacher - 1,
        "teacher/miou_best": teacher + 1,
        "seconds": 10.0,
        **more,
    }
    (place / "summary.json").write_text(json.dumps(summary))
    (place / "config.json").write_text(json.dumps({"seed": seed, "method": {"tau": tau, "seed": seed}}))


def test_seeds_are_one_row_with_mean_and_sample_deviation(tmp_path):
    for seed, teacher in ((2, 77.0), (0, 70.0), (1, 72.0)):
        write_run(tmp_path / f"v2_{3 - seed}", seed=seed, teacher=teacher)
    write_run(tmp_path / "sup", seed=0, teacher=50.0, method="supervised")
    lines = table(load_runs([tmp_path])).splitlines()
    assert len(lines) == 4  # header, rule, two rows
    cells = [cell.strip() for cell in next(line for line in lines if "unimatch_v2" in line).split("|")]
    mean = (70 + 72 + 77) / 3
    deviation = (((70 - mean) ** 2 + (72 - mean) ** 2 + (77 - mean) ** 2) / 2) ** 0.5
    assert f"{mean:.1f} ± {deviation:.1f}" in cells
    assert "0,1,2" in cells
    assert any("| 50.0 " in line for line in lines if "supervised" in line)


def test_labeled_images_chosen_by_the_seed_are_part_of_the_seed_and_else_a_setting(tmp_path):
    for name, seed, split_seed in (("a", 0, 0), ("b", 1, 1), ("c", 1, 0)):
        write_run(tmp_path / name, seed=seed, teacher=70.0)
        (tmp_path / name / "config.json").write_text(json.dumps({"dataset": {"split_seed": split_seed}}))
    runs = load_runs([tmp_path])
    assert [[run["seed"] for run in group] for group in group_runs(runs)] == [[0, 1], [1]]
    assert differing_settings(group_runs(runs)) == ["dataset.split_seed"]


def test_a_number_that_stays_is_not_part_of_the_seed_that_happens_to_equal_it(tmp_path):
    for seed in (0, 1, 2):
        write_run(tmp_path / str(seed), seed=seed, teacher=70.0)
        (tmp_path / str(seed) / "config.json").write_text(json.dumps({"dataset": {"split_seed": 0}}))
    groups = group_runs(load_runs([tmp_path]))
    assert [[run["seed"] for run in group] for group in groups] == [[0, 1, 2]]
    assert groups[0][0]["settings"] == {"dataset.split_seed": "0"}


def test_runs_that_differ_in_a_setting_are_rows_that_name_it(tmp_path):
    write_run(tmp_path / "a", seed=0, teacher=70.0, tau=0.8)
    write_run(tmp_path / "b", seed=0, teacher=71.0, tau=0.95)
    runs = load_runs([tmp_path])
    assert differing_settings(group_runs(runs)) == ["method.tau"]
    text = table(runs)
    header = [cell.strip() for cell in text.splitlines()[0].split("|")[1:-1]]
    assert header == ["method", "teacher", "student", "best teacher", "tau", "seeds", "seconds"]
    assert [line.split("|")[5].strip() for line in text.splitlines()[2:]] == ["0.95", "0.8"]  # the best comes first


def test_unfinished_runs_are_marked_and_old_keys_tolerated(tmp_path):
    write_run(tmp_path / "a", seed=0, teacher=70.0, finished=False)
    assert "0 (unfinished: 0)" in table(load_runs([tmp_path]))


def test_the_command_prints_the_table_and_pictures(tmp_path, capsys):
    write_run(tmp_path / "a", seed=0, teacher=70.0)
    (tmp_path / "a" / "validation.png").touch()
    assert main([str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "70.0" in output
    assert str(tmp_path / "a" / "validation.png") in output


def test_names_of_strangers_are_one_row_without_control_characters(tmp_path, capsys):
    hostile = "\x1b]0;caught\x07\n| unimatch_v2"
    write_run(tmp_path / "a", seed=0, teacher=70.0, method=hostile)
    write_run(tmp_path / "b", seed=0, teacher=70.0, method=hostile, tau=f"\x9b2J{hostile}")
    (tmp_path / "a\x1bb").mkdir()
    (tmp_path / "a").rename(tmp_path / "a\x1bb" / "c")
    (tmp_path / "a\x1bb" / "c" / "validation.png").touch()
    assert main([str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert re.fullmatch(r"[ -~±\n]*", output)
    rows = output.partition("\n\n")[0].splitlines()
    assert len(rows) == 4
    columns = {len(re.split(r"(?<!\\)\|", row)) for row in rows}  # a bar in a name begins no column
    assert len(columns) == 1
    assert main([str(tmp_path / "\x1b[2J")]) == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("broken", [None, "{", ""])
def test_places_without_runs_are_refused_by_name(tmp_path, capsys, broken):
    if broken is not None:
        (tmp_path / "summary.json").write_text(broken)
    assert main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_spread_of_one_value_is_the_value():
    assert spread([3.14159], digits=2) == "3.14"


def test_a_run_that_repeats_a_published_one_stands_beside_it(tmp_path):
    published = {"dataset": "pascal", "encoder": "vitb", "split": "366"}
    write_run(tmp_path / "a", seed=0, teacher=88.0, tau=0.95, **published)
    write_run(tmp_path / "b", seed=0, teacher=87.0, tau=0.5, **published)
    lines = table(load_runs([tmp_path])).splitlines()
    header, ours, other = ([cell.strip() for cell in line.split("|")] for line in (lines[0], *lines[2:]))
    assert header[1:6] == ["method", "teacher", "student", "best teacher", "published"]  # scores come first
    assert ours[5] == "88.9 (table01)"
    assert other[5] == "-"
    assert compare_groups(group_runs(load_runs([tmp_path]))).same["split"] == "366"


DAMAGED = [
    ("summary.json", ""), ("summary.json", "{"), ("summary.json", "[]"), ("summary.json", "{}"),
    ("summary.json", "\xff"), ("summary.json", "[" * 10**5), ("summary.json", '{"teacher/miou": [1]}'),
    ("summary.json", '{"teacher/miou": "high"}'),
    ("summary.json", '{"teacher/miou": 7, "seconds": [], "dataset": 1}'),
    ("summary.json", '{"teacher/miou": 7, "seconds": "a"}'), ("summary.json", '{"teacher/miou": 7, "seed": "x"}'),
    ("summary.json", '{"teacher/miou": 7, "seed": null}'), ("config.json", "[]"), ("config.json", "{"),
    ("config.json", '{"a":' * 500 + "1" + "}" * 500), ("config.json", "\0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text"), DAMAGED)
def test_a_damaged_run_is_named_in_one_line_and_the_others_are_compared(name, text, tmp_path, capsys):
    for seed in (0, 1):
        write_run(tmp_path / str(seed), seed=seed, teacher=70.0)
    write_run(tmp_path / "bad", seed=2, teacher=20.0)
    (tmp_path / "bad" / name).write_text(text, encoding="latin-1")
    assert main([str(tmp_path)]) == 0
    scores, missing = capsys.readouterr().out.split("no result:\n")
    assert "70.0 ± 0.0" in scores
    assert missing.startswith(f"  {tmp_path / 'bad'}: ")
    assert missing.count("\n") == 1
    assert main([str(tmp_path / "bad")]) == 2  # there is nothing to compare it with
    said = capsys.readouterr().err
    assert str(tmp_path / "bad") in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("summary.json", "["), ("evaluations.jsonl", "{}\n"), ("evaluations.jsonl", "no"),
        ("confusion.csv", "a,b\nc,x\n"), ("examples/examples.json", "[]"),
    ],
)  # fmt: skip
def test_a_page_names_a_damaged_run_and_shows_the_others(name, text, tmp_path, capsys):
    for seed in (0, 1, 2):
        make_run(tmp_path / "runs" / str(seed), seed=seed)
    (tmp_path / "runs" / "2" / name).write_text(text)
    page = tmp_path / "page.html"
    assert main([str(tmp_path / "runs"), "--html", str(page)]) == 0
    assert f"no result:\n  {tmp_path / 'runs' / '2'}: " in capsys.readouterr().out
    assert "<h1>2 runs compared</h1>" in page.read_text()
    assert "Without a result" in page.read_text()


def test_a_run_without_a_score_takes_nothing_from_the_others(tmp_path, capsys):
    for seed, teacher in enumerate((70.0, math.nan, math.inf)):
        write_run(tmp_path / str(seed), seed=seed, teacher=teacher, tau=0.5 + 0.1 * seed, seconds=teacher)
    for seed, teacher in enumerate((70.0, math.nan)):
        write_run(tmp_path / f"{seed}s", seed=seed, teacher=teacher, method="supervised")
    assert main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "nan ± nan" in text
    assert "| 70.0 " in text


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({"dataset": {"root": "a"}}, {"dataset": {"root": "b"}}, ["dataset.root"]),
        ({"trainer": {"devices": 1}}, {"trainer": {"devices": 2}}, ["trainer.devices"]),
        # One choice that several nodes hold is one column.
        *[
            ({"encoder": {"weights": w}, "model": {"weights": w}}, {"encoder": {}, "model": {}}, ["encoder.weights"])
            for w in ("pretrained", "a.pth")
        ],
        ({"encoder": {"lorra": 8}}, {"encoder": {}}, ["encoder.lorra"]),
        ({"method": {"seed": 7}}, {"method": {"seed": 8}}, ["method.seed"]),  # not the run's
        ({"method": {"seed": 0}, "datamodule": {"seed": 0}}, {"method": {"seed": 1}, "datamodule": {"seed": 1}}, []),
        ({"datamodule": {"workers": 1}, "logger": {"name": "a"}}, {"datamodule": {"workers": 2}, "logger": {}}, []),
        ({"recipe": {"tau": 0.9}, "method": {"tau": 0.8}}, {"recipe": {"tau": 0.8}, "method": {"tau": 0.8}}, []),
    ],
)
def test_any_setting_but_the_seed_tells_rows_apart(tmp_path, first, second, named):
    for seed, config in enumerate((first, second)):
        write_run(tmp_path / str(seed), seed=seed, teacher=70.0 - 50 * seed)
        (tmp_path / str(seed) / "config.json").write_text(json.dumps(config))
    groups = group_runs(load_runs([tmp_path]))
    assert differing_settings(groups) == named
    assert len(groups) == 1 + bool(named)
    assert len(group_runs(load_runs([tmp_path], [*named, "model.weights"]))) == 1  # what may differ


@pytest.mark.parametrize(("setting", "value"), [("dice", 0.0), ("class_weights", None), ("thresholds", "fixed")])
def test_a_run_from_before_a_setting_is_one_of_today_that_leaves_it_alone(tmp_path, setting, value):
    configs = [{"method": {"tau": 0.9}}, {"method": {"tau": 0.9, setting: value}}]
    configs += [{"method": {"tau": 0.9, setting: 0.5}}]
    for seed, config in enumerate(configs):
        write_run(tmp_path / str(seed), seed=seed, teacher=70.0)
        (tmp_path / str(seed) / "config.json").write_text(json.dumps(config))
    groups = group_runs(load_runs([tmp_path]))
    assert [[run["seed"] for run in group] for group in groups] == [[0, 1], [2]]
    assert differing_settings(groups) == [f"method.{setting}"]
    header = table([run for group in groups for run in group]).splitlines()[0]
    assert setting in header


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({"processes": 1}, {"processes": 4}, "processes"),  # of devices=auto
        ({"unlabeled": 600}, {"unlabeled": 601}, "unlabeled"),  # one path on two machines
        ({"teacher/iou": {"sky": 1.0}}, {"teacher/iou": {"road": 1.0}}, "classes"),
    ],
)
def test_what_a_run_was_tells_rows_apart_too(tmp_path, first, second, named):
    for seed, more in enumerate((first, second)):
        write_run(tmp_path / str(seed), seed=seed, teacher=70.0, **more)
    assert differing_settings(group_runs(load_runs([tmp_path]))) == [named]


def test_runs_without_a_result_are_named_and_the_others_compared(tmp_path, capsys):
    write_run(tmp_path / "sweep" / "0", seed=0, teacher=70.0)
    (tmp_path / "sweep" / "1").mkdir()
    # All that a job leaves that fails before it trains.
    (tmp_path / "sweep" / "1" / "failed.json").write_text('{"why": "ConfigError: no\\u001bsuch key\\nsecond line"}')
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "sweep"), str(tmp_path / "empty")]) == 0
    scores, missing = capsys.readouterr().out.split("no result")
    assert "70.0" in scores
    assert [line.strip() for line in missing.splitlines()[1:]] == [
        f"{tmp_path / 'empty'}: not evaluated yet", f"{tmp_path / 'sweep' / '1'}: failed: ConfigError: no\\x1bsuch key"
    ]  # fmt: skip


def test_two_methods_are_compared_seed_by_seed(tmp_path, capsys):
    scores = {"ours": {0: 70.0, 1: 75.0, 2: 71.0, 7: 99.0}, "theirs": {0: 69.0, 1: 71.0, 2: 72.0, 5: 1.0}}
    for method, found in scores.items():
        for seed, teacher in found.items():
            finished = seed != 7
            write_run(tmp_path / f"{method}{seed}", seed=seed, teacher=teacher, method=method, finished=finished)
    (pair,) = pairs_of(compare_groups(group_runs(load_runs([tmp_path]))))
    assert (pair.first, pair.second, list(pair.seeds), pair.ahead) == ("ours", "theirs", [0, 1, 2], 2)
    differences = [1.0, 4.0, -1.0]
    deviation = (sum((d - 4 / 3) ** 2 for d in differences) / 2) ** 0.5
    assert pair.difference == f"+{4 / 3:.1f} ± {deviation:.1f}"
    assert main([str(tmp_path)]) == 0
    said = f"ours - theirs: +1.3 ± {deviation:.1f}, ahead in 2 of 3 seeds (0,1,2)"
    assert said in capsys.readouterr().out


def test_a_lucky_run_of_one_seed_on_top_does_not_end_the_comparison_of_the_others(tmp_path):
    write_run(tmp_path / "lucky", seed=0, teacher=90.0, method="lucky")
    for method, teacher in (("ours", 70.0), ("theirs", 69.0)):
        for seed in (0, 1):
            write_run(tmp_path / f"{method}{seed}", seed=seed, teacher=teacher + seed, method=method)
    (pair,) = pairs_of(compare_groups(group_runs(load_runs([tmp_path]))))
    assert (pair.first, pair.second, list(pair.differences)) == ("ours", "theirs", [1.0, 1.0])


def test_what_all_rows_have_in_common_stands_once_below_the_table(tmp_path, capsys):
    write_run(tmp_path / "a", seed=0, teacher=70.0)
    write_run(tmp_path / "b", seed=0, teacher=71.0, method="supervised")
    assert main([str(tmp_path)]) == 0
    text, below = capsys.readouterr().out.split("\n\n")[:2]
    assert "digits" not in text
    assert below.strip() == "the same in all: dataset digits, encoder tiny, labeled 64, steps 100"


def test_a_run_that_is_found_twice_counts_once(tmp_path):
    write_run(tmp_path / "sweep" / "0", seed=0, teacher=70.0)
    assert len(load_runs([tmp_path, tmp_path / "sweep", tmp_path / "sweep" / ".." / "sweep" / "0"])) == 1
