"""Makes pages about runs: single files that load nothing from elsewhere and run only their own script."""

from unimatch.report.run_page import write_report

__all__ = ["write_report"]
