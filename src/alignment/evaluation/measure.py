"""One model's answers to the held-out and the control prompts, and what they amount to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from alignment.errors import DataError, Fault
from alignment.evaluation.interval import Interval, rate_interval
from alignment.generation.answers import Answer, draw_answers
from alignment.recipe.sample_evaluation import SampleEvaluation
from alignment.scoring.rules import RULES, words
from alignment.terminal import counted

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of answers, prompt by prompt."""

    by_prompt: tuple[float, ...]
    """Share of the answers to each prompt that pass, in the order of the prompts."""
    answers: int
    """Answers to each prompt."""

    @property
    def value(self) -> float:
        """Share over all answers."""
        return fmean(self.by_prompt)

    @property
    def interval(self) -> Interval:
        """95 % interval, prompts as clusters."""
        return rate_interval(self.by_prompt, self.answers)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one model did."""

    compliance: Rate
    """Answers to the held-out prompts that comply with the rule."""
    control: Rate | None
    """Answers to the control prompts that hold an expected word; `None` without control prompts."""
    finished: float
    """Share of the held-out answers that the model ended itself."""
    mean_words: float
    """Mean length of the held-out answers."""
    distinct: float
    """Share of different texts among the held-out answers to a prompt: near 0 when the model always says the same."""
    violations: Mapping[str, float]
    """Share of the held-out answers with each violation, the most frequent first."""
    answers: Mapping[str, tuple[Answer, ...]]
    """Prompt -> its answers, held-out prompts first, then control prompts."""

    def summary(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        return {
            "compliance": round(self.compliance.value, 4),
            "ci": [round(bound, 4) for bound in self.compliance.interval],
            "finished": round(self.finished, 4),
            "mean_words": round(self.mean_words, 1),
            "distinct": round(self.distinct, 4),
            "violations": {name: round(share, 4) for name, share in self.violations.items()},
        }


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    evaluation: SampleEvaluation,
    *,
    label: str = "Sampling",
) -> Measurement:
    """Draws the answers, showing progress, and judges them.

    For one whole model in one process: under ZeRO-3 or FSDP the parameters must be gathered first.

    Args:
        label: What the progress is called.

    Raises:
        DataError: a prompt file is missing or a row of it is malformed.
    """
    prompts = [row["prompt"] for row in prompt_rows(Path(evaluation.prompts), ("prompt",))]
    control = _control_rows(evaluation)
    asked = [*prompts, *(row["prompt"] for row in control)]
    with counted(label, len(asked) * evaluation.samples_per_prompt, "answers") as advance:
        drawn = draw_answers(
            model,
            tokenizer,
            asked,
            samples=evaluation.samples_per_prompt,
            max_new_tokens=evaluation.max_new_tokens,
            temperature=evaluation.temperature,
            seed=evaluation.seed,
            batch_size=evaluation.batch_size,
            advance=advance,
        )
    return judge_answers(prompts, drawn[: len(prompts)], control, drawn[len(prompts) :], rule=evaluation.rule)


def judge_answers(
    prompts: Sequence[str],
    answers: Sequence[Sequence[Answer]],
    control: Sequence[Mapping[str, Any]],
    control_answers: Sequence[Sequence[Answer]],
    *,
    rule: str,
) -> Measurement:
    """The measurement of given answers: `answers[i]` to `prompts[i]`, `control_answers[i]` to `control[i]`."""
    judge = RULES[rule].judge
    verdicts = [
        [judge(prompt, answer.text, answer.finished) for answer in drawn]
        for prompt, drawn in zip(prompts, answers, strict=True)
    ]
    every = [answer for drawn in answers for answer in drawn]
    counts = Counter(name for group in verdicts for verdict in group for name in verdict.violations)
    known = [
        [holds_expected(answer.text, row["expected"]) for answer in drawn]
        for row, drawn in zip(control, control_answers, strict=True)
    ]
    return Measurement(
        compliance=_rate([[verdict.complies for verdict in group] for group in verdicts]),
        control=_rate(known) if known else None,
        finished=fmean(answer.finished for answer in every),
        mean_words=fmean(len(words(answer.text)) for answer in every),
        distinct=fmean(len({answer.text for answer in drawn}) / len(drawn) for drawn in answers),
        violations={name: count / len(every) for name, count in counts.most_common()},
        answers={
            **{prompt: tuple(drawn) for prompt, drawn in zip(prompts, answers, strict=True)},
            **{row["prompt"]: tuple(drawn) for row, drawn in zip(control, control_answers, strict=True)},
        },
    )


def holds_expected(text: str, expected: Sequence[str]) -> bool:
    """Whether one of the expected words stands in the text, as a whole word, whatever its case."""
    said = set(words(text))
    return any(word.lower() in said for word in expected)


def as_record(evaluation: SampleEvaluation) -> dict[str, Any]:
    """The settings of a measurement, ready for JSON."""
    return asdict(evaluation)


def _rate(passes: Sequence[Sequence[bool]]) -> Rate:
    return Rate(by_prompt=tuple(fmean(group) for group in passes), answers=len(passes[0]))


def _control_rows(evaluation: SampleEvaluation) -> list[dict[str, Any]]:
    if evaluation.control_prompts is None:
        return []
    return prompt_rows(Path(evaluation.control_prompts), ("prompt", "expected"))


def prompt_rows(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a prompt file. Raises DataError that lists every malformed row."""
    if not path.is_file():
        raise DataError(Fault(key=f"prompt file {path}", rule="does not exist", remedy="correct sample_evaluation"))
    faults, rows = [], []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            faults.append(Fault(key=f"line {number} of {path}", rule=f"is not JSON ({error})"))
            continue
        if not (isinstance(row, dict) and all(row.get(column) for column in columns)):
            faults.append(Fault(key=f"line {number} of {path}", rule=f"must hold {' and '.join(columns)}"))
            continue
        rows.append(row)
    if not rows and not faults:
        faults.append(Fault(key=f"prompt file {path}", rule="must have at least one row"))
    if faults:
        raise DataError(faults)
    return rows
