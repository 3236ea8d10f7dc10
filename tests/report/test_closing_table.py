import json
import shutil

from unimatch.report.closing_table import NAMED, closing_table
from unimatch.tasks import Segmentation


def test_it_has_the_best_evaluation_the_last_scores_and_the_files_that_are_there(finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    *earlier, last = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    best = max([*earlier, last], key=lambda evaluation: evaluation["teacher"]["miou"])
    last["student"]["miou"], last["teacher"]["miou"] = 12.3, 45.6
    (run / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*earlier, last]))
    lines = closing_table(run, Segmentation.scores_type).splitlines()
    assert f"best teacher: {best['teacher']['miou']:.1f} mIoU at step {best['step']} of 6" in lines
    assert next(line for line in lines if line.startswith("mIoU")).split()[1:3] == ["12.3", "45.6"]
    files = {line.split()[0] for line in lines[lines.index(f"run directory: {run}") + 1 :]}
    assert files == set(NAMED) - {"held_out.txt"}  # nothing is held out there
