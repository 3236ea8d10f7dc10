"""Runs notebooks and keeps their outputs, without times and paths."""

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

LARGEST = 300_000
"""Bytes of a notebook with its outputs."""


def execute(path: Path) -> None:
    """Run one notebook and write it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    # Not which version made it.
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in cell.outputs
                if output.get("name") != "stderr"
            ]
    text = nbformat.writes(notebook) + "\n"
    if len(text) > LARGEST or re.search(r"/(?:home|tmp|root|Users)/", text):
        sys.exit(
            f"{path}: {len(text)} bytes, at most {LARGEST}, and no path of a "
            "machine"
        )
    path.write_text(text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        execute(Path(name))
