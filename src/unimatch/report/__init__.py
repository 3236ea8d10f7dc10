"""``report.html``: one self-contained page about a run, or about several; no script and no network access."""

from unimatch.report.run_page import write_report

__all__ = ["write_report"]
