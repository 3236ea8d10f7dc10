"""Makes pages about runs: one file each, without scripts, that loads nothing from elsewhere."""

from unimatch.report.run_page import write_report

__all__ = ["write_report"]
