"""Rules of evaluation: what it gives, and what is chosen by it."""

from __future__ import annotations

from collections.abc import Iterator

from alignment.errors import Fault, did_you_mean
from alignment.methods import METHODS
from alignment.recipe.settings import Settings

_SPEED = ("runtime", "samples_per_second", "steps_per_second")
"""What every evaluation gives besides."""


def _best_model(s: Settings) -> Iterator[Fault]:
    if not (s.sound("load_best_model_at_end") and s["load_best_model_at_end"]):
        return
    evaluated, saved = s.strategy("eval_strategy"), s.strategy("save_strategy")
    if s.sound("eval_strategy", "save_strategy") and saved not in (evaluated, "best"):
        yield Fault(
            key="load_best_model_at_end",
            value=True,
            rule=f"needs save_strategy {saved} to be eval_strategy {evaluated}",
            remedy="make them equal",
        )
    elif saved == evaluated == "steps" and s.sound("save_steps", "eval_steps"):
        yield from _multiple(s)


def _multiple(s: Settings) -> Iterator[Fault]:
    save, evaluate = s["save_steps"], s["eval_steps"] or s["logging_steps"]
    together = (save < 1) == (evaluate < 1)
    times = save / evaluate
    if not together or abs(times - round(times)) > 1e-6 or round(times) == 0:
        yield Fault(
            key="save_steps",
            value=save,
            rule=f"must be a multiple of eval_steps {evaluate:g} with load_best_model_at_end: true",
            remedy="make them equal",
        )


def _metric(s: Settings) -> Iterator[Fault]:
    metric, strategy = s.stated.get("metric_for_best_model"), s.strategy("eval_strategy")
    if not s.sound("metric_for_best_model", "eval_strategy", "save_strategy"):
        return
    if s.strategy("save_strategy") == "best" and (strategy == "no" or not metric):
        lacking = "eval_strategy: steps or epoch" if strategy == "no" else "metric_for_best_model, such as loss"
        yield Fault(
            key="save_strategy", value="best", rule="saves what an evaluation finds best", remedy=f"state {lacking}"
        )
    if metric is None or s.method is None:
        return
    if strategy == "no":
        yield Fault(
            key="metric_for_best_model",
            value=metric,
            rule="has no effect without evaluations",
            remedy="state eval_strategy: steps or epoch, or remove it",
        )
        return
    given = METHODS[s.method].metrics
    name = metric.removeprefix("eval_")
    if name not in (*given, *_SPEED):
        yield Fault(
            key="metric_for_best_model",
            value=metric,
            rule=f"is none of the metrics of {s.method}",
            remedy=_near(name, given) or f"it gives {', '.join(given)}",
        )


def _near(name: str, given: tuple[str, ...]) -> str:
    """A remedy that also knows `accuracy` for `rewards/accuracies`."""
    ends = {metric.rpartition("/")[2]: metric for metric in given}
    near = did_you_mean(name, given) or did_you_mean(name, ends)
    return near if "/" in near else next((f"did you mean {ends[end]}?" for end in ends if f" {end}?" in near), near)


def _first_evaluation(s: Settings) -> Iterator[Fault]:
    if s.sound("eval_on_start") and s.stated.get("eval_on_start") and s.strategy("eval_strategy") == "no":
        yield Fault(
            key="eval_on_start",
            value=True,
            rule="needs evaluations, and eval_strategy is no",
            remedy="state eval_strategy: steps or epoch, or remove it",
        )


METRIC_RULES = (_best_model, _metric, _first_evaluation)
