"""Accuracy of a scorer on files of preference pairs, as RewardBench has them (arXiv 2403.13787)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from alignment.data.messages import RowFault, read_messages
from alignment.errors import DataError, Fault, SetupError
from alignment.evaluation.context import Context
from alignment.evaluation.results import Metric, Outcome, mean_metric, share_metric
from alignment.evaluation.rows import Placed, placed_rows
from alignment.evaluation.store import ItemStore
from alignment.evaluation.subjects import Subject
from alignment.recipe.evaluation_settings import RewardModelSuite
from alignment.scoring import load_scorer
from alignment.terminal import counted

AT_ONCE = 64
"""Pairs that are scored between two writes."""

Conversations = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def measure(context: Context, subjects: Sequence[Subject]) -> Iterator[tuple[Mapping[str, Any], Outcome]]:
    """How often the recipe's scorer gives the chosen answer more, in all and by subset. No model is needed.

    Raises:
        DataError: rows that are no pairs.
        SetupError: no scorer is stated, or it cannot be had.
    """
    suite = context.settings.reward_model
    if suite is None:
        raise SetupError(Fault(key="evaluation.reward_model", rule="must be stated", remedy="state scorer and dataset"))
    rows = placed_rows(suite.dataset, key="evaluation.reward_model.dataset")[: suite.max_rows]
    pairs = [conversations(placed) for placed in rows]
    scores = _scores(context, suite, pairs)
    yield (
        {},
        Outcome(
            suite="reward_model",
            model=suite.scorer,
            data=Path(suite.dataset).name,
            metrics=tuple(accuracies([row for _, row in rows], scores)),
            settings=asdict(suite),
            versions=context.versions,
        ),
    )


def accuracies(rows: Sequence[Mapping[str, Any]], scores: Sequence[tuple[float, float]]) -> Iterator[Metric]:
    """Accuracy over all rows, of each subset, and their mean; equal scores are no right answer."""
    right = [float(chosen > rejected) for chosen, rejected in scores]
    yield share_metric("accuracy", right, headline=True)
    subsets: dict[str, list[float]] = {}
    for row, hit in zip(rows, right, strict=True):
        if row.get("subset") is not None:
            subsets.setdefault(str(row["subset"]), []).append(hit)
    if len(subsets) > 1:
        yield Metric(name="mean of the subsets", value=fmean(fmean(hits) for hits in subsets.values()), n=len(subsets))
        yield from (share_metric(f"accuracy: {name}", hits) for name, hits in sorted(subsets.items()))
    yield Metric(name="equal scores", value=fmean(float(one == other) for one, other in scores), n=len(scores))
    yield mean_metric("margin", [chosen - rejected for chosen, rejected in scores], "of the score")


def conversations(placed: Placed) -> Conversations:
    """The chosen and the rejected conversation of a row.

    Raises:
        DataError: it is no pair, named by its place.
    """
    place, row = placed
    try:
        opening = _messages(row.get("prompt"), "prompt", "user")
        sides = tuple(_messages(row.get(side), side, "assistant") for side in ("chosen", "rejected"))
    except RowFault as fault:
        remedy = "rows need prompt, chosen and rejected, as texts or lists of messages"
        raise DataError(Fault(key=place, rule=f"is no pair: {fault}", remedy=remedy)) from fault
    chosen, rejected = ([*opening, *side] if len(side) == 1 else list(side) for side in sides)
    return chosen, rejected


def _messages(value: object, name: str, role: str) -> list[dict[str, Any]]:
    """A text as one message, or the messages that stand there."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [{"role": role, "content": value}]
    return read_messages(value, name)


def _scores(context: Context, suite: RewardModelSuite, pairs: Sequence[Conversations]) -> list[tuple[float, float]]:
    about = {"scorer": suite.scorer, "options": suite.options, "dataset": Path(suite.dataset).name}
    store = ItemStore(context.folder / "reward_model", about)
    missing = [row for row in range(len(pairs)) if str(row) not in store.found]
    if missing:
        scorer = load_scorer(suite.scorer, **suite.options)
        with counted(f"Scoring by {suite.scorer}", len(missing), "pairs") as advance:
            for start in range(0, len(missing), AT_ONCE):
                part = missing[start : start + AT_ONCE]
                found = scorer.score([side for row in part for side in pairs[row]])
                for at, row in enumerate(part):
                    store.add(str(row), {"chosen": found[2 * at], "rejected": found[2 * at + 1]})
                advance(len(part))
    return [(store.found[str(row)]["chosen"], store.found[str(row)]["rejected"]) for row in range(len(pairs))]
