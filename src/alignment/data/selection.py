"""Pairs out of the scored answers to one prompt: a pure function of answers, scores and settings."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from alignment.recipe.selection import SelectionSettings

WHY_NONE = {
    "few": "fewer than two answers that are not empty",
    "unfinished": "no finished answer that could be chosen",
    "identical": "all answers identical",
    "poor": "no answer scores as much as min_chosen_score asks",
    "tied": "no answer scores below the best",
    "margin": "no answer as far below the best as min_margin asks",
    "length": "no worse answer of the length that max_length_ratio and length_control ask",
}
"""Why a prompt gives no pair, the first reason that holds."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What became of one prompt."""

    pairs: tuple[tuple[int, int], ...]
    """Indices (chosen, rejected) into the answers, in the order of selection."""
    why_none: str | None
    """Key of `WHY_NONE` when there is no pair."""


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """The answers to one prompt."""

    texts: Sequence[str]
    scores: Sequence[float]
    finished: Sequence[bool]
    settings: SelectionSettings
    draw: random.Random = field(repr=False)


def select_pairs(
    responses: Sequence[str],
    scores: Sequence[float],
    settings: SelectionSettings,
    *,
    key: str,
    finished: Sequence[bool] | None = None,
) -> Selection:
    """The pairs of one prompt.

    Of equal scores the first answer wins, as best and as worst. Answers with the text of one that already stands in a
    pair are not used again. Answers of blanks alone are never used.

    Args:
        responses: the answers to one prompt.
        scores: one finite number for each; higher is better.
        key: names the prompt; with `settings.seed` it decides what is drawn, in whatever order prompts come.
        finished: whether the model ended each answer itself; all of them when absent.

    Raises:
        ValueError: the sequences differ in length, or a score is not finite.
    """
    finished = [True] * len(responses) if finished is None else finished
    if not len(responses) == len(scores) == len(finished):
        raise ValueError(f"{len(responses)} answers have {len(scores)} scores and {len(finished)} endings")
    if not all(math.isfinite(score) for score in scores):
        raise ValueError(f"the scores must be finite numbers, not {list(scores)}")
    draw = random.Random(f"{settings.seed}/{key}")
    answers = _Answers(texts=responses, scores=scores, finished=finished, settings=settings, draw=draw)
    return _select(answers)


def _select(answers: _Answers) -> Selection:
    dropped = answers.settings.unfinished == "drop"
    written = [at for at, text in enumerate(answers.texts) if text.strip()]
    free = [at for at in written if answers.finished[at] or not dropped]
    if len(free) < 2 <= len(written):
        return Selection(pairs=(), why_none="unfinished")
    if answers.settings.takes_every:
        return _every_pair(answers, free)
    pairs: list[tuple[int, int]] = []
    why_none = None
    longer = bool(answers.draw.getrandbits(1))
    for _ in range(answers.settings.pairs_per_prompt):
        found = _next_pair(answers, free, longer)
        longer = not longer
        if isinstance(found, str):
            why_none = why_none or found
            continue
        pairs.append(found)
        used = {answers.texts[at] for at in found}
        free = [at for at in free if answers.texts[at] not in used]
    return Selection(pairs=tuple(pairs), why_none=None if pairs else why_none)


def _every_pair(answers: _Answers, free: Sequence[int]) -> Selection:
    """The best answer, or each that is better than some other, against all that are worse. Texts count once."""
    texts: dict[str, int] = {}
    for at in free:
        texts.setdefault(answers.texts[at], at)
    left = list(texts.values())
    pairs: list[tuple[int, int]] = []
    best = _best(answers, free)
    why_none = None
    while not isinstance(best, str):
        worse = _worse_than(answers, best, left, longer=False)
        if isinstance(worse, str):
            why_none = why_none or worse
        else:
            pairs += [(best, at) for at in sorted(worse, key=lambda at: -answers.scores[at])]
        left.remove(best)
        best = _best(answers, left) if answers.settings.rule == "all_pairs" else "few"
    return Selection(pairs=tuple(pairs), why_none=None if pairs else why_none or best)


def _next_pair(answers: _Answers, free: Sequence[int], longer: bool) -> tuple[int, int] | str:
    """The pair that the rule finds among the answers `free`, or why there is none.

    `longer` is whether a `balanced` pair rejects the longer answer.
    """
    best = _best(answers, free)
    if isinstance(best, str):
        return best
    worse = _worse_than(answers, best, free, longer)
    return worse if isinstance(worse, str) else (best, _rejected(answers, best, worse))


def _best(answers: _Answers, free: Sequence[int]) -> int | str:
    """The best answer that may be chosen, or why there is none."""
    if len(free) < 2:
        return "few"
    if len({answers.texts[at] for at in free}) == 1:
        return "identical"
    only_finished = answers.settings.unfinished == "never_chosen"
    fit = [at for at in free if answers.finished[at] or not only_finished]
    if not fit:
        return "unfinished"
    best = max(fit, key=lambda at: answers.scores[at])
    least = answers.settings.min_chosen_score
    if least is not None and answers.scores[best] < least:
        return "poor"
    return best


def _worse_than(answers: _Answers, best: int, free: Sequence[int], longer: bool) -> list[int] | str:
    """The answers that `best` may be put against, or the rule that leaves none."""
    settings, ours = answers.settings, answers.texts[best]
    worse = [at for at in free if answers.scores[at] < answers.scores[best] and answers.texts[at] != ours]
    if not worse:
        return "tied"
    worse = [at for at in worse if _leads(answers.scores[best] - answers.scores[at], settings.min_margin)]
    if not worse:
        return "margin"
    most = settings.max_length_ratio or math.inf
    worse = [at for at in worse if _ratio(ours, answers.texts[at]) <= most]
    if settings.length_control == "balanced":
        lengths = {at: len(answers.texts[at]) for at in worse}
        worse = [at for at in worse if (lengths[at] > len(ours) if longer else lengths[at] < len(ours))]
    return worse or "length"


def _rejected(answers: _Answers, best: int, worse: Sequence[int]) -> int:
    if answers.settings.rule == "best_random":
        return answers.draw.choice(worse)
    length = len(answers.texts[best])
    matched = answers.settings.length_control == "matched"
    apart = {at: abs(len(answers.texts[at]) - length) if matched else 0 for at in worse}
    return min(worse, key=lambda at: (apart[at], answers.scores[at]))


def _leads(lead: float, margin: float) -> bool:
    """Whether `lead` is `margin` or more, to rounding: 0.7 - 0.4 is a lead of 0.3."""
    return lead >= margin or math.isclose(lead, margin)


def _ratio(one: str, other: str) -> float:
    short, long = sorted((len(one), len(other)))
    return long / short
