"""Checks data sets: a quick check before each training (``before_training``), and a full check of every file."""

from unimatch.data.check.findings import FAULTS, WARNINGS, Finding, Part, Report
from unimatch.data.check.full import full_check

__all__ = ["FAULTS", "WARNINGS", "Finding", "Part", "Report", "full_check"]
