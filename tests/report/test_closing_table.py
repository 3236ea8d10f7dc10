import json

from unimatch.report.closing_table import NAMED, closing_table
from unimatch.tasks import Segmentation


def test_it_has_the_best_evaluation_the_last_scores_and_the_files_that_are_there(finished_run):
    lines = closing_table(finished_run, Segmentation.scores_type).splitlines()
    evaluations = [json.loads(line) for line in (finished_run / "evaluations.jsonl").read_text().splitlines()]
    best = max(evaluations, key=lambda evaluation: evaluation["teacher"]["miou"])
    assert f"best teacher: {best['teacher']['miou']:.1f} mIoU at step {best['step']} of 6" in lines
    for name, place in (("student", 1), ("teacher", 2)):
        overall = next(line for line in lines if line.startswith("mIoU")).split()
        assert overall[place] == f"{evaluations[-1][name]['miou']:.1f}"
    files = {line.split()[0] for line in lines[lines.index(f"run directory: {finished_run}") + 1 :]}
    assert files == set(NAMED) - {"held_out.txt"}  # nothing is held out there
