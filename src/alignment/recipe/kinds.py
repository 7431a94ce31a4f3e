"""Recipes of every kind by one function, for commands that take them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from alignment.recipe.files import stated_method
from alignment.recipe.loop_recipe import LoopRecipe, load_loop_recipe
from alignment.recipe.loop_settings import LOOP
from alignment.recipe.pairs_recipe import PairsRecipe, load_pairs_recipe
from alignment.recipe.pairs_settings import PAIRS
from alignment.recipe.recipe import Recipe, load_recipe

_LOADERS: Mapping[str | None, Callable[[str | Path, Sequence[str]], PairsRecipe | LoopRecipe]] = {
    PAIRS: load_pairs_recipe,
    LOOP: load_loop_recipe,
}
"""By the `method` of recipes that are not one training."""


def load_any_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe | PairsRecipe | LoopRecipe:
    """The recipe `source` (a name, or a path to a .yaml file) with `overrides` from the command line.

    Raises:
        RecipeError: with every fault of the recipe and the overrides.
    """
    return _LOADERS.get(stated_method(source), load_recipe)(source, overrides)
