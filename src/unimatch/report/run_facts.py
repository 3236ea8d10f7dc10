"""Shows what was trained, how far it came, what it warned of, and how long it took."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from unimatch.plain import below
from unimatch.report.markup import table, tag
from unimatch.report.run_files import RunFiles


def facts(summary: Mapping[str, Any]) -> str:
    """Says in one line what was trained."""
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
    """Returns what readers must know before they trust the figures, a sentence each; None where there is nothing."""
    found = [text for text in (run.idle, run.collapsed) if text]
    if not run.summary.get("finished", True):
        found.append(f"This training has not finished: the figures are those of step {run.summary.get('steps', '?')}.")
    told = [
        ("no pseudo label has been confident", run.idle),
        ("at step", run.collapsed),
        ("ended by", run.summary.get("finished", True)),  # and went on later
    ]
    kept = [text for text in run.logged if not any(known and text.startswith(start) for start, known in told)]
    found += [sentence(text) for text in dict.fromkeys([*map(str, run.summary.get("findings") or []), *kept])]
    if unread := run.summary.get("bad_images"):
        found.append(f"{len(unread)} unlabelled images could not be read; Time and place below names them.")
    return tag("ul", (tag("li", text) for text in found), class_="warnings", aria_label="Warnings") if found else None


def sentence(text: str) -> str:
    """Returns a message as a sentence; a setting at its beginning stays as it is.

    >>> sentence("the training is short"), sentence("method.tau=1: is never reached")
    ('The training is short.', 'method.tau=1: is never reached.')
    """
    first = text.split(" ", 1)[0]
    begun = text if "." in first or "=" in first else text[:1].upper() + text[1:]
    return begun + ("" if text.endswith((".", "!", "?")) else ".")


def tiles(run: RunFiles) -> Markup:
    """Returns the figures that readers look for first."""
    summary, measure = run.summary, run.measure
    shown = []
    for model in ("teacher", "student"):
        value, best = summary.get(f"{model}/{measure}"), summary.get(f"{model}/{measure}_best")
        if value is not None:
            reached = model == "teacher" and summary.get("best_step") is not None
            at = f" at step {summary['best_step']}" if reached else ""
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


def counted(count: object, what: str) -> str:
    """Returns a number with its noun.

    >>> counted(1, "epoch"), counted(9, "epoch")
    ('1 epoch', '9 epochs')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Returns a duration as people say it.

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
    """Returns a table of the times, the machine and the versions."""
    seconds, evaluating = summary.get("seconds"), summary.get("seconds_evaluating") or 0.0
    rows: dict[str, object] = {}
    if seconds is not None:
        rows = {
            "training and evaluating": duration(seconds),
            "evaluating": duration(evaluating),
            "steps per second, without evaluating": f"{summary.get('steps', 0) / max(seconds - evaluating, 1e-9):.3g}",
            "images per second, without evaluating": summary.get("images_per_second", "?"),
        }
    kept = ("peak_memory_mb", "device", "processes", "precision", "git_revision")
    rows |= {key.replace("_mb", ", MB").replace("_", " "): summary[key] for key in kept if summary.get(key) is not None}
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
