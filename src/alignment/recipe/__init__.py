"""YAML and command line in, one typed, frozen, checked `Recipe` out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

if TYPE_CHECKING:
    from alignment.recipe.files import available_recipes
    from alignment.recipe.recipe import Recipe, load_recipe
    from alignment.recipe.schema import DataArguments, DatasetMixture, DatasetSource, ModelArguments

_EXPORTS = {
    "DataArguments": "alignment.recipe.schema",
    "DatasetMixture": "alignment.recipe.schema",
    "DatasetSource": "alignment.recipe.schema",
    "ModelArguments": "alignment.recipe.schema",
    "Recipe": "alignment.recipe.recipe",
    "available_recipes": "alignment.recipe.files",
    "load_recipe": "alignment.recipe.recipe",
}

__all__ = [
    "DataArguments",
    "DatasetMixture",
    "DatasetSource",
    "ModelArguments",
    "Recipe",
    "available_recipes",
    "load_recipe",
]

__getattr__ = lazily(__name__, _EXPORTS)
