"""Turns the published archives of a benchmark into the folders that its data set reads."""

from unimatch.data.prepare.convert import RECIPES, Recipe, convert_archives
from unimatch.data.prepare.jobs import Outcome

__all__ = ["RECIPES", "Outcome", "Recipe", "convert_archives"]
