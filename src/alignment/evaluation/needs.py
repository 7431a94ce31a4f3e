"""What the suites of a recipe need from elsewhere, fetched by `make data` so that evaluating needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from alignment.evaluation.arena_files import fetch_repository
from alignment.evaluation.length_control import DIFFICULTIES, EVALUATION_SET, REPOSITORY
from alignment.hub.downloads import fetch_dataset_file

if TYPE_CHECKING:
    from alignment.recipe import Recipe


def fetch_needed(recipe: Recipe) -> Iterator[str]:
    """Fetch benchmark files, saying what there is.

    Raises:
        SetupError: the Hub or the repository cannot be reached.
    """
    settings = recipe.evaluation
    if settings is None:
        return
    if settings.alpaca_eval is not None:
        names = [DIFFICULTIES, *([] if settings.alpaca_eval.evaluation_set else [EVALUATION_SET])]
        for name in names:
            fetch_dataset_file(REPOSITORY, name, key="evaluation.alpaca_eval")
        yield f"AlpacaEval: {' and '.join(names)} of {REPOSITORY}"
    if settings.arena_hard is not None and settings.arena_hard.repository is None:
        yield f"Arena-Hard: {fetch_repository()}"
