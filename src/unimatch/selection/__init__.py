"""Selects which photos to label, by what the photos show."""

from unimatch.selection.features import ColorDescriber, Describer, Description, EncoderDescriber
from unimatch.selection.select import Selection, check_choice, select

__all__ = ["ColorDescriber", "Describer", "Description", "EncoderDescriber", "Selection", "check_choice", "select"]
