import json

import pytest

from helpers.runs import make_run
from unimatch.report.pseudo_labels import least_reliable, pseudo_label_section
from unimatch.report.run_files import read_run


@pytest.mark.parametrize("truth_is_known", [True, False])
def test_reliability_on_held_out_labels_is_drawn_over_training_and_names_the_worst_classes(tmp_path, truth_is_known):
    place = make_run(tmp_path / "run", classes=["road", "car", "pole"], examples=False)
    lines = []
    for i, text in enumerate((place / "evaluations.jsonl").read_text().splitlines()):
        line = json.loads(text)
        pseudo = {
            "reliability": 91.5 + i, "coverage": 60.0,
            "class_reliability": {"road": 99.0, "car": 31.5 + i, "pole": None},
            "class_coverage": {"road": 80.0, "car": 40.0, "pole": 0.0},
            "class_threshold": {"road": 0.95, "car": None, "pole": 0.95},
        }  # fmt: skip
        line["pseudo_label"] = {**(line["pseudo_label"] if truth_is_known else {}), **pseudo}
        lines.append(json.dumps(line) + "\n")
    (place / "evaluations.jsonl").write_text("".join(lines))
    page = str(pseudo_label_section(read_run(place)))
    assert "Least reliable at the end: car (34% right). No confident one yet: pole." in page
    assert "right on held-out labels" in page
    assert "step 200: 32.5%" in page
    assert "of these right, held-out labels" in page
    assert ("of these right, all pixels" in page) == truth_is_known


def test_a_run_that_holds_nothing_out_says_nothing_of_it(tmp_path):
    page = str(pseudo_label_section(read_run(make_run(tmp_path / "run", examples=False))))
    assert "held-out" not in page.lower()


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ({"road": 99.6, "car": 100.0, "pole": 100.0}, ""),
        ({"road": 100.0, "car": 7.0, "pole": None}, " Least reliable at the end: car (7% right)."),
        ({"road": 12.0, "car": None, "pole": None}, " No confident one yet: pole."),
    ],
)
def test_the_least_reliable_classes_are_those_that_are_sometimes_wrong(tmp_path, right, said):
    place = make_run(tmp_path / "run", classes=["road", "car", "pole"], examples=False)
    *before, last = map(json.loads, (place / "evaluations.jsonl").read_text().splitlines())
    last["pseudo_label"] |= {"class_accuracy": right, "class_reliability": {"road": 99.7}}
    last["pseudo_label"]["class_share"] = {"road": 50.0, "car": 40.0, "pole": 0.0 if "pole" in said else 1.0}
    (place / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*before, last)))
    assert (least_reliable(read_run(place)) or "") == said
