"""Shows the facts of a run: what was trained, the scores, the warnings, and the time it took."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from unimatch.report.markup import table, tag
from unimatch.report.run_files import RunFiles
from unimatch.untrusted import below
from unimatch.wording import counted


def facts(summary: Mapping[str, Any]) -> str:
    """Returns in one line what was trained."""
    parts = (
        summary.get("encoder", "?"),
        f"{summary.get('labeled', '?')} labelled",
        f"{summary['unlabeled']} unlabelled images" if summary.get("unlabeled") else "",
        f"split {summary['split']}" if summary.get("split") else "",
        f"seed {summary.get('seed', '?')}",
        "" if summary.get("finished", True) else "not finished",
    )
    return " · ".join(filter(None, parts))


def warnings(run: RunFiles) -> Markup | None:
    """Returns a list of what readers must know before they trust the figures; None if there is nothing."""
    found = [text for text in (run.idle, run.collapsed) if text]
    finished = run.summary.get("finished", True)
    if not finished:
        found.append(f"This training has not finished: the figures are those of step {run.summary.get('steps', '?')}.")
    settled = []  # beginnings of logged warnings that are said above already, or no longer hold
    if run.idle:
        settled.append("no pseudo label has been confident")
    if run.collapsed:
        settled.append("at step")
    if finished:
        settled.append("ended by")
    logged = [text for text in run.logged if not text.startswith(tuple(settled))]
    found += [sentence(text) for text in dict.fromkeys([*map(str, run.summary.get("findings") or []), *logged])]
    if unread := run.summary.get("bad_images"):
        found.append(f"{len(unread)} unlabelled images could not be read; Time and place below names them.")
    return tag("ul", (tag("li", text) for text in found), class_="warnings", aria_label="Warnings") if found else None


def sentence(text: str) -> str:
    """Returns a message as a sentence, with a capital letter unless it begins with a setting, and a full stop.

    >>> sentence("the training is short"), sentence("method.tau=1: is never reached")
    ('The training is short.', 'method.tau=1: is never reached.')
    """
    first = text.split(" ", 1)[0]
    start = text if "." in first or "=" in first else text[:1].upper() + text[1:]
    return start + ("" if text.endswith((".", "!", "?")) else ".")


def tiles(run: RunFiles) -> Markup:
    """Returns tiles with the figures that readers look for first."""
    summary, measure = run.summary, run.measure
    shown = []
    for model in ("teacher", "student"):
        value, best = summary.get(f"{model}/{measure}"), summary.get(f"{model}/{measure}_best")
        if value is not None:
            step_is_known = model == "teacher" and summary.get("best_step") is not None
            at = f" at step {summary['best_step']}" if step_is_known else ""
            note = f"best {best:.1f}%{at}" if best is not None else None
            shown.append((f"{run.title_of(measure)} of the {model}", f"{value:.1f}%", note))
    shown.append(("steps", f"{summary.get('steps', 0):,}", counted(summary.get("epochs", "?"), "epoch")))
    if summary.get("seconds") is not None:
        evaluating = summary.get("seconds_evaluating")
        shown.append(("time", duration(summary["seconds"]), f"{duration(evaluating)} of it evaluating"))
    drawn = (
        tag("div", tag("dt", name), tag("dd", value), tag("dd", note, class_="note") if note else None)
        for name, value, note in shown
    )
    return tag("dl", drawn, class_="tiles")


def duration(seconds: float | None) -> str:
    """Returns a duration in hours and minutes, minutes and seconds, or seconds; ``?`` for None.

    >>> duration(12.34), duration(986), duration(40000)
    ('12.3 s', '16 min 26 s', '11 h 6 min')
    """
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def times(summary: Mapping[str, Any]) -> Markup:
    """Returns a table of times, machine and versions."""
    seconds, evaluating = summary.get("seconds"), summary.get("seconds_evaluating") or 0.0
    rows: dict[str, object] = {}
    if seconds is not None:
        rows = {
            "training and evaluating": duration(seconds),
            "evaluating": duration(evaluating),
            "steps per second, without evaluating": f"{summary.get('steps', 0) / max(seconds - evaluating, 1e-9):.3g}",
            "images per second, without evaluating": summary.get("images_per_second", "?"),
        }
    titles = {
        "peak_memory_mb": "peak memory, MB",
        "device": "device",
        "processes": "processes",
        "precision": "precision",
        "git_revision": "git revision",
    }
    rows |= {title: summary[key] for key, title in titles.items() if summary.get(key) is not None}
    rows |= summary.get("versions") or {}
    if summary.get("bad_images"):
        rows["unlabelled images that could not be read"] = ", ".join(map(str, summary["bad_images"]))
    return table(["what", "value"], rows.items(), caption="Time, machine and versions", class_="words")


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the full name of each nested setting, such as ``method.tau``, and its value.

    >>> list(flat({"method": {"tau": 0.95}, "seed": 0}))
    [('method.tau', '0.95'), ('seed', '0')]
    """
    for key, value in config.items():
        name = below(prefix, key)
        if isinstance(value, dict) and value:
            yield from flat(value, name)
        else:
            yield name, json.dumps(value)
