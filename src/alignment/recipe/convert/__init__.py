"""Recipes of other projects, turned into ours: one module an origin, each a literal table of its keys."""

from __future__ import annotations

from alignment.recipe.convert.convert import Converted, convert_file

__all__ = ["Converted", "convert_file"]
