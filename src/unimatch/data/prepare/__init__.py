"""Converts the published archives of benchmarks into the folders that their data sets read."""

from unimatch.data.prepare.convert import RECIPES, Recipe, convert_archives
from unimatch.data.prepare.parallel_writes import Outcome

__all__ = ["RECIPES", "Outcome", "Recipe", "convert_archives"]
