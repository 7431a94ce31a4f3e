"""`make evaluate` in its order: suites run on models, one after the other, and their results are written and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from alignment.errors import Fault, SetupError
from alignment.evaluation import alpaca_suite, arena_suite, lm_eval_suite, preferences, reward_model, win_rate
from alignment.evaluation.context import Context
from alignment.evaluation.published import published_models
from alignment.evaluation.results import Outcome, Results
from alignment.evaluation.store import set_aside
from alignment.evaluation.subjects import Subject, find_subjects
from alignment.evaluation.table import print_outcomes

if TYPE_CHECKING:
    from alignment.recipe import Recipe

Suite = Callable[[Context, Sequence[Subject]], Iterator[tuple[Mapping[str, Any], Outcome]]]

RUNS: dict[str, Suite] = {
    "preferences": preferences.measure,
    "reward_model": reward_model.measure,
    "win_rate": win_rate.measure,
    "alpaca_eval": alpaca_suite.measure,
    "arena_hard": arena_suite.measure,
    "lm_eval": lm_eval_suite.measure,
}
"""What each suite does: an outcome comes with the identity of the model that it is about, empty for none."""
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
    with alone_in(context.folder):
        results = Results(context.folder, recipe=recipe.name)
        for name in suites:
            subjects = groups.get(name, [])
            if fresh:
                begin_anew(context, name, subjects)
            for identity, outcome in RUNS[name](context, subjects):
                results.add(outcome, identity)
    base = recipe.model.model_name_or_path
    print_outcomes(results.outcomes, suites=suites, published=published_models(base, recipe.method))
    print(f"\nAll numbers, with settings and versions: {results.path}")
    return results


def begin_anew(context: Context, suite: str, subjects: Sequence[Subject]) -> None:
    """Set aside what a suite left of these models."""
    for folder in [subject.slug for subject in subjects] or [""]:
        if aside := set_aside(context.folder / folder / suite):
            print(f"What was measured before is in {aside}.")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder: two processes at once would pay for the same answers.

    Raises:
        SetupError: another process holds it, or it cannot be written.
    """
    key = "output_dir"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", blocking=False):
            yield
    except Timeout as error:
        rule = "is being evaluated by another process"
        raise SetupError(Fault(key=key, value=str(folder), rule=rule, remedy="wait for it, or stop it")) from error
    except PermissionError as error:
        raise SetupError(Fault(key=key, value=str(folder), rule=f"cannot be written: {error.strerror}")) from error
