"""Which photos to label: chosen from the photos alone, by what they show."""

from unimatch.selection.features import ColorDescriber, Describer, Description, EncoderDescriber
from unimatch.selection.select import Selection, check_choice, select

__all__ = ["ColorDescriber", "Describer", "Description", "EncoderDescriber", "Selection", "check_choice", "select"]
