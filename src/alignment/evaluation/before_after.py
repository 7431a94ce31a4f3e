"""Two measurements on the same prompts, side by side: a file for the model card and a table for the reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alignment.evaluation.interval import gain_interval
from alignment.evaluation.measure import Measurement, Rate, as_record
from alignment.evaluation.paired import Comparison, shares_of, win_rate_metrics
from alignment.recipe.sample_evaluation import SampleEvaluation
from alignment.redaction import write_portable
from alignment.scoring.rules import RULES, Judgment

FILE_NAME = "before_after.json"


def compare(
    before: Measurement, after: Measurement, evaluation: SampleEvaluation, *, folder: Path | None = None
) -> dict[str, Any]:
    """Prints both measurements with their 95 % intervals and some answers, and writes `before_after.json`.

    Args:
        folder: Where the file goes; `None` writes none.

    Returns:
        What the file holds: `rule`, `settings`, `before`, `after` and `gain` on the held-out prompts, `control` with
        its own `before` and `after` (absent without control prompts), `win_rate` of after against before, and
        `samples`, the first answer of each model to `evaluation.show` held-out and as many control prompts.
    """
    record = comparison(before, after, evaluation)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_portable(folder / FILE_NAME, record)
    _print(record)
    return record


def comparison(before: Measurement, after: Measurement, evaluation: SampleEvaluation) -> dict[str, Any]:
    """The content of `before_after.json`."""
    rule = RULES[evaluation.rule]
    low, high = gain_interval(before.compliance.by_prompt, after.compliance.by_prompt)
    record: dict[str, Any] = {
        "rule": {"name": evaluation.rule, "summary": rule.summary},
        "settings": as_record(evaluation),
        "prompts": len(before.compliance.by_prompt),
        "before": before.summary(),
        "after": after.summary(),
        "gain": {
            "compliance": round(after.compliance.value - before.compliance.value, 4),
            "ci": [round(low, 4), round(high, 4)],
        },
    }
    if before.control is not None and after.control is not None:
        record["control"] = {
            "prompts": len(before.control.by_prompt),
            "before": _accuracy(before.control),
            "after": _accuracy(after.control),
        }
    held_out = len(before.compliance.by_prompt)
    prompts = list(before.answers)
    record["win_rate"] = _win_rate(before, after, prompts[:held_out], rule.judge)
    record["samples"] = [
        {
            "prompt": prompt,
            "kind": kind,
            "before": _shown(before.answers[prompt][0].text, before.answers[prompt][0].finished),
            "after": _shown(after.answers[prompt][0].text, after.answers[prompt][0].finished),
        }
        for kind, group in (("held-out", prompts[:held_out]), ("control", prompts[held_out:]))
        for prompt in _spread(group, evaluation.show)
    ]
    return record


def _win_rate(
    before: Measurement, after: Measurement, prompts: list[str], judge: Callable[[str, str, bool], Judgment]
) -> dict[str, Any]:
    """The trained model's answers against the base's, draw by draw, by the scores of the rule; from 0 to 100."""
    comparisons = []
    for prompt in prompts:
        sides = [
            [judge(prompt, answer.text, answer.finished).score for answer in measured.answers[prompt]]
            for measured in (before, after)
        ]
        pairs = zip(after.answers[prompt], before.answers[prompt], strict=True)
        comparisons.append(Comparison(shares_of(*sides), [len(late.text) - len(early.text) for late, early in pairs]))
    found = {metric.name: metric for metric in win_rate_metrics(comparisons)}
    return {
        name.replace("win rate", "win_rate").replace("-", "_").replace(" ", "_"): {
            "value": round(metric.value, 2),
            "ci": None if metric.ci is None else [round(bound, 2) for bound in metric.ci],
        }
        for name, metric in found.items()
    }


def _print(record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    before, after = record["before"], record["after"]
    numbers = Table(title=f"Before and after, {record['prompts']} held-out prompts", title_justify="left")
    numbers.add_column("")
    for title in ("before", "after"):
        numbers.add_column(title, justify="right")
    numbers.add_row("answers that keep the rule", *(_rate(part["compliance"], part["ci"]) for part in (before, after)))
    if "control" in record:
        numbers.add_row(
            f"control facts right ({record['control']['prompts']} prompts)",
            *(
                _rate(record["control"][when]["accuracy"], record["control"][when]["ci"])
                for when in ("before", "after")
            ),
        )
    numbers.add_row("answers the model ended itself", f"{before['finished']:.0%}", f"{after['finished']:.0%}")
    numbers.add_row("wins against before, ties a half", "", _percent(record["win_rate"]["win_rate"]))
    numbers.add_row("the same at equal length", "", _percent(record["win_rate"]["length_controlled_win_rate"]))
    numbers.add_row("mean words", f"{before['mean_words']:.0f}", f"{after['mean_words']:.0f}")
    numbers.add_row("different answers to one prompt", f"{before['distinct']:.0%}", f"{after['distinct']:.0%}")
    numbers.caption = (
        f"Rule {record['rule']['name']}: {record['rule']['summary']}. "
        f"Gain {record['gain']['compliance']:+.2f} [{record['gain']['ci'][0]:+.2f}, {record['gain']['ci'][1]:+.2f}]. "
        "Brackets: 95 % interval, prompts as clusters."
    )
    console = Console()
    console.print(numbers)
    if record["samples"]:
        answers = Table(title="The first sampled answers", title_justify="left", show_lines=True)
        for title, ratio in (("prompt", 2), ("before", 5), ("after", 5)):
            answers.add_column(title, ratio=ratio)
        for sample in record["samples"]:
            answers.add_row(*(Text(sample[column]) for column in ("prompt", "before", "after")))
        console.print(answers)


def _percent(number: dict[str, Any]) -> str:
    low, high = number["ci"]
    return f"{number['value']:.0f} % [{low:.0f}, {high:.0f}]"


def _rate(value: float, ci: list[float]) -> str:
    return f"{value:.2f} [{ci[0]:.2f}, {ci[1]:.2f}]"


def _accuracy(rate: Rate) -> dict[str, Any]:
    return {"accuracy": round(rate.value, 4), "ci": [round(bound, 4) for bound in rate.interval]}


def _shown(text: str, finished: bool) -> str:
    """The answer; an ellipsis says that it ran into the token limit."""
    return text if finished else f"{text} …"


def _spread(prompts: list[str], count: int) -> list[str]:
    """`count` prompts at even distances, so that those shown are not all of one kind."""
    if count >= len(prompts):
        return prompts
    return [prompts[at * len(prompts) // count] for at in range(count)]
