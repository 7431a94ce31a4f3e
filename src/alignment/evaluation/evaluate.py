"""The story of `make evaluate`: suites, models, one number after the other, and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from alignment.evaluation import alpaca_suite, arena_suite, lm_eval_suite, preferences, reward_model, win_rate
from alignment.evaluation.context import Context
from alignment.evaluation.published import published_models
from alignment.evaluation.results import Outcome, Results
from alignment.evaluation.store import set_aside
from alignment.evaluation.subjects import Subject, find_subjects
from alignment.evaluation.table import print_outcomes

if TYPE_CHECKING:
    from alignment.recipe import Recipe

Suite = Callable[[Context, Sequence[Subject]], Iterator[tuple[Subject | None, Outcome]]]

RUNS: dict[str, Suite] = {
    "preferences": preferences.measure,
    "reward_model": reward_model.measure,
    "win_rate": win_rate.measure,
    "alpaca_eval": alpaca_suite.measure,
    "arena_hard": arena_suite.measure,
    "lm_eval": lm_eval_suite.measure,
}
"""What each suite does. An outcome about no model of the recipe comes with `None`."""
BEFORE_AND_AFTER = frozenset({"preferences", "win_rate"})
"""Suites that measure the base model too."""
WITHOUT_MODEL = frozenset({"reward_model"})
"""Suites that none of the models takes part in."""


def evaluate(
    recipe: Recipe,
    suites: Sequence[str],
    *,
    model: str | None = None,
    compare: Sequence[str] = (),
    fresh: bool = False,
) -> Results:
    """Run suites on models; whatever is there already is kept.

    Args:
        suites: names (see `chosen_suites`).
        model: folder or id instead of the recipe's trained model.
        compare: several instead (see `find_subjects`).
        fresh: set aside what earlier calls left of these suites and models, and begin anew.

    Raises:
        UserError: no model, data or judge that cannot be had. What was measured is kept.
    """
    context = Context.of(recipe)
    groups = {
        name: find_subjects(recipe, model=model, compare=compare, base=name in BEFORE_AND_AFTER)
        for name in suites
        if name not in WITHOUT_MODEL
    }
    results = Results(context.folder, recipe=recipe.name)
    for name in suites:
        subjects = groups.get(name, [])
        if fresh:
            for folder in [subject.slug for subject in subjects] or [""]:
                if aside := set_aside(context.folder / folder / name):
                    print(f"What was measured before is in {aside}.")
        for measured, outcome in RUNS[name](context, subjects):
            results.add(outcome, {} if measured is None else measured.identity)
    base = recipe.model.model_name_or_path
    print_outcomes(results.outcomes, suites=suites, published=published_models(base, recipe.method))
    print(f"\nAll numbers, with settings and versions: {results.path}")
    return results
