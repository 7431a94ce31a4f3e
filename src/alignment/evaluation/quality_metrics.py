"""Whether the model still answers, as metrics and notes of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alignment.evaluation.results import Metric
from alignment.generation.answers import Answer
from alignment.generation.quality import findings, quality


def quality_metrics(prompts: Sequence[str], answers: Sequence[Answer]) -> Iterator[Metric]:
    """Shares of answers that are unfinished, empty, in a loop or an echo, and their variety."""
    found = quality(prompts, answers)
    for name in ("unfinished", "empty", "repeating", "echoing"):
        yield Metric(name=f"{name} answers", value=getattr(found, name), n=found.answers)
    for length, value in enumerate(found.distinct, 1):
        yield Metric(name=f"distinct-{length}", value=value, n=found.answers)


def quality_notes(prompts: Sequence[str], answers: Sequence[Answer], base: Sequence[Answer] | None) -> list[str]:
    """What sound models do not do, in sentences; a model that collapsed is said to have collapsed."""
    before = None if base is None else quality(prompts, base)
    return [finding.message for finding in findings(quality(prompts, answers), before)]
