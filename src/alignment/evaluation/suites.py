"""Which suites a call of `make evaluate` runs. Light imports: a wrong name is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignment.errors import Fault, SetupError
from alignment.recipe.evaluation_settings import SUITES, unknown_suites

if TYPE_CHECKING:
    from alignment.recipe import Recipe


def chosen_suites(recipe: Recipe, named: Sequence[str]) -> list[str]:
    """The suites to run, in their order.

    Raises:
        SetupError: one is unknown, or none is stated.
    """
    faults = list(unknown_suites(tuple(named), key="SUITE"))
    if faults:
        raise SetupError(faults)
    settings = recipe.evaluation
    stated = () if settings is None else settings.suites or tuple(name for name in SUITES if getattr(settings, name))
    names = [name for name in SUITES if name in (named or stated)]
    if not names:
        remedy = f"name one with SUITE=..., of {', '.join(SUITES)}, or state an evaluation section in the recipe"
        raise SetupError(
            Fault(key="SUITE", rule="is not said, and the recipe has no evaluation section", remedy=remedy)
        )
    return names
