"""Makes the folders of a benchmark of its published archives."""

from unimatch.data.prepare.convert import RECIPES, Recipe, convert_archives
from unimatch.data.prepare.jobs import Outcome

__all__ = ["RECIPES", "Outcome", "Recipe", "convert_archives"]
