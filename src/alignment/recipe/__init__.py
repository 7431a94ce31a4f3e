"""YAML and command line in, one typed, frozen, checked `Recipe` out."""

from __future__ import annotations

from .files import available_recipes
from .recipe import Recipe, load_recipe
from .schema import DataArguments, DatasetMixture, DatasetSource, ModelArguments

__all__ = [
    "DataArguments",
    "DatasetMixture",
    "DatasetSource",
    "ModelArguments",
    "Recipe",
    "available_recipes",
    "load_recipe",
]
