"""What became of a cell, read from the files that its run left, and which cell is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignment.evaluation.interval import wilson
from alignment.evaluation.results import FOLDER, outcomes_of
from alignment.methods import METHODS
from alignment.modeling.weights_fingerprint import weights_fingerprint
from alignment.output.finished_run import FinishedRun
from alignment.output.folder import CARD, MANIFEST

State = Literal["open", "done", "collapsed", "failed"]
FAILURE = "failure.txt"
"""File with the end of a failed run's message, beside its log."""
_ACCURACY, _MARGIN, _LOSS = "eval_rewards/accuracies", "eval_rewards/margins", "eval_loss"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A cell that was tried, or not yet."""

    name: str
    settings: tuple[tuple[str, str], ...]
    state: State
    why: str = ""
    """The alarm that stopped it, or the end of its message."""
    measured: float | None = None
    """Share of the recipe's evaluation: answers that keep the rule of `sample_evaluation`, or the headline metric of
    the first suite of `evaluation`; `None` where the recipe evaluates nothing."""
    accuracy: float | None = None
    """Share of held-out pairs that are ranked rightly; `None` for conversations."""
    accuracy_interval: tuple[float, float] | None = None
    """95 %."""
    margin: float | None = None
    loss: float | None = None
    """On the held-out rows."""

    @property
    def rank(self) -> tuple[float, ...]:
        """Greater is better: the evaluation, then accuracy, margin and loss, as far as they were measured."""
        lowest = float("-inf")
        values = (self.measured, self.accuracy, self.margin, None if self.loss is None else -self.loss)
        return tuple(lowest if value is None else value for value in values)


def outcome_of(folder: Path, name: str, settings: tuple[tuple[str, str], ...]) -> Outcome:
    """What the cell in `folder` has come to."""
    common: dict[str, Any] = {"name": name, "settings": settings}
    run = FinishedRun(folder)
    if (folder / MANIFEST).is_file():
        if run.manifest.get("stopped_by"):
            last = run.manifest["alarms"][-1]
            return Outcome(**common, state="collapsed", why=f"{last['name']} at step {last['step']}")
        if (folder / CARD).is_file():
            return Outcome(**common, state="done", **_numbers(run))
    failure = folder / FAILURE
    if failure.is_file():
        return Outcome(**common, state="failed", why=failure.read_text(encoding="utf-8").strip())
    return Outcome(**common, state="open")


def best_of(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The best of those that are done; the earlier one of equals."""
    done = [outcome for outcome in outcomes if outcome.state == "done"]
    return max(done, key=lambda outcome: outcome.rank) if done else None


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The best first, then those without a result in the order that they were given."""
    done = sorted((each for each in outcomes if each.state == "done"), key=lambda each: each.rank, reverse=True)
    return [*done, *(each for each in outcomes if each.state != "done")]


def _numbers(run: FinishedRun) -> dict[str, Any]:
    results, ranks = run.results, "rewards/accuracies" in METHODS[run.manifest["method"]].metrics
    accuracy = results.get(_ACCURACY) if ranks else None
    rows = run.manifest["data"]["rows"]["test"]
    interval = wilson(accuracy, rows) if accuracy is not None and rows else None
    return {
        "measured": _measured(run),
        "accuracy": accuracy,
        "accuracy_interval": None if interval is None else (interval.low, interval.high),
        "margin": results.get(_MARGIN) if ranks else None,
        "loss": results.get(_LOSS),
    }


def _measured(run: FinishedRun) -> float | None:
    if (run.path / FOLDER).is_dir() and any(run.path.glob("model*.safetensors")):
        for outcome in outcomes_of(run.path / FOLDER, weights=[weights_fingerprint(run.path)]):
            for metric in outcome["metrics"]:
                if metric["headline"]:
                    return float(metric["value"])
    return None if run.before_after is None else float(run.before_after["after"]["compliance"])
