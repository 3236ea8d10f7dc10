"""Makes pages about runs: one file each that loads nothing from elsewhere and runs its own script alone."""

from unimatch.report.run_page import write_report

__all__ = ["write_report"]
