import json
import re

import pytest

from unimatch.compare import differing_settings, group_runs, load_runs, main, spread, table


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
    assert "method.tau" in text
    assert "0.95" in text


def test_unfinished_runs_are_marked_and_old_keys_tolerated(tmp_path):
    write_run(tmp_path / "a", seed=0, teacher=70.0, finished=False)
    assert "0 (unfinished)" in table(load_runs([tmp_path]))


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
    assert len(output.partition("\n\n")[0].splitlines()) == 4
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
    assert lines[0].split("|")[-2].strip() == "published"
    ours, other = (line.split("|") for line in lines[2:])
    assert ours[-2].strip() == "88.9 (table01)"
    assert other[-2].strip() == "-"
    assert "366" in [cell.strip() for cell in ours]
