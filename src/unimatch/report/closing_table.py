"""Makes the table with which a training ends in the terminal."""

import json
from pathlib import Path

from unimatch.report.run_files import read_run
from unimatch.tasks.scores import Scores, scores_table

NEEDED = ("summary.json", "evaluations.jsonl")
"""The files of a run directory that the table is made from."""

NAMED = {
    "report.html": "curves, classes, examples and settings on one page",
    "summary.json": "the result in numbers",
    "checkpoints/best.ckpt": "of the best evaluation; unimatch.predict and unimatch.load_model read it",
    "checkpoints/last.ckpt": "of the last step; resume=auto continues from it",
    "metrics.csv": "losses and scores by step",
    "evaluations.jsonl": "each evaluation, by class",
    "held_out.txt": "labelled images that are held out, to measure pseudo labels on",
    "config.json": "all settings",
}
"""The files of a run directory that the table names, with what they hold."""


def closing_table(run_dir: Path, scores: type[Scores]) -> str:
    """Returns the scores by class and overall, the best evaluation, and the files that the run has written.

    Args:
        run_dir: of a run that has been evaluated.
        scores: the measures of its task.
    """
    summary = json.loads((run_dir / "summary.json").read_text())
    last = json.loads((run_dir / "evaluations.jsonl").read_text().splitlines()[-1])
    idle = read_run(run_dir).idle
    headline, title = scores.headline, scores.titles[scores.headline]
    lines = [
        "",
        scores_table({name: last[name] for name in ("student", "teacher")}, scores),
        "",
        f"best teacher: {summary[f'teacher/{headline}_best']:.1f} {title} at step {summary['best_step']} of "
        f"{summary['steps']}",
        *([idle] if idle else []),
        f"{summary['seconds']:.0f} s ({summary['seconds_evaluating']:.0f} s of it evaluating), "
        f"{summary['images_per_second']:.0f} images/s, {summary['peak_memory_mb']} MB at most",
        f"run directory: {run_dir}",
        *(f"  {name:<22}{content}" for name, content in NAMED.items() if (run_dir / name).exists()),
    ]
    return "\n".join(lines)
