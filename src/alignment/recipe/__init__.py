"""YAML and command line in, one typed, frozen, checked `Recipe` out."""

from __future__ import annotations

from alignment.recipe.files import available_recipes
from alignment.recipe.recipe import Recipe, load_recipe
from alignment.recipe.schema import DataArguments, DatasetMixture, DatasetSource, ModelArguments

__all__ = [
    "DataArguments",
    "DatasetMixture",
    "DatasetSource",
    "ModelArguments",
    "Recipe",
    "available_recipes",
    "load_recipe",
]
