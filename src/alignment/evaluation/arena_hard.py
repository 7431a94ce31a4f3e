"""Arena-Hard's score from judgments, v0.1 and v2, by any judge.

Every question is judged twice with the sides swapped; the verdict is one of A>>B, A>B, A=B, B>A, B>>A. A strong verdict
counts three times. The published estimator of v0.1 is a Bradley-Terry fit over such battles; with every battle against
one baseline its maximum-likelihood win rate is their weighted mean, which is what v2 computes, and what stands here.
The interval resamples questions, since the battles of one question are not independent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from alignment.errors import DataError, Fault
from alignment.evaluation.interval import Interval
from alignment.evaluation.rows import Placed, Source, one_value, placed_rows

NAME = "judgments"
STRONG = 3
"""How often a strong verdict counts."""
HEADLINE = "hard_prompt"
"""The category of v2 whose score is the benchmark's."""
OLD = "arena-hard-v0.1"
"""The category of v0.1 in the files of today."""
RESAMPLES = 1000

_SIDES = {">": 1.0, "=": 0.5, "<": 0.0}
_VERDICT = re.compile(r"([AB])(>>|>|=|<|<<)([AB])")


class Battles(NamedTuple):
    """What the games of one question give the model."""

    points: float
    """Weighted sum of its shares."""
    weight: float
    """Sum of the weights; 0 where no game counts."""


def score(source: Source, *, baseline: str | None = None, seed: int = 0) -> dict[str, Any]:
    """The win rate of a model against the baseline, from 0 to 100.

    Args:
        source: judgments as Arena-Hard writes them: rows with `uid` and `category`, or `question_id` as v0.1 once had
            it, `model`, and `games`, two `{"score": verdict}`; in the first the baseline is A, in the second the model.
        baseline: what the judgments must be against, where they say it.
        seed: of the bootstrap.

    Returns:
        `score` and `ci` (95 %, bootstrap over questions); `n`, questions that count; `unjudged`, games without a
        verdict; `version`; and, for v2, `categories` with the same of each. A question with a game without verdict is
        left out; of rows with `question_id` the game alone is, as the script of their time had it.

    Raises:
        DataError: rows that are no judgments, several models or baselines, or no verdict at all.
    """
    rows = placed_rows(source, key=NAME)
    _check(rows, baseline)
    whole = all("uid" in row for _, row in rows)
    groups: dict[str, list[Placed]] = {}
    for placed in rows:
        groups.setdefault(str(placed[1].get("category", "all")), []).append(placed)
    found = {name: _of_group(group, whole=whole, seed=seed) for name, group in groups.items()}
    version = "v2" if whole and OLD not in groups else "v0.1"
    told = {"version": version, "model": rows[0][1]["model"]}
    if len(found) == 1:
        return {**next(iter(found.values())), **told}
    if HEADLINE not in found:
        rule = f"are of the categories {', '.join(found)}, which are no one benchmark"
        raise DataError(Fault(key=NAME, rule=rule, remedy="score each of them by itself"))
    return {**found[HEADLINE], **told, "category": HEADLINE, "categories": found}


def share_of(verdict: object) -> tuple[float, int] | None:
    """What a verdict gives side A, and how often it counts; `None` for what is no verdict."""
    found = _VERDICT.fullmatch(verdict.strip().upper()) if isinstance(verdict, str) else None
    if found is None or found[1] == found[3]:
        return None
    share = _SIDES[found[2][0]]
    return (share if found[1] == "A" else 1 - share), (STRONG if len(found[2]) == 2 else 1)


def battles(games: Sequence[Mapping[str, Any] | None], *, whole: bool) -> Battles:
    """Both games of a question, for the model: B in the first, A in the second.

    Args:
        whole: whether the question counts only if both games have a verdict.
    """
    found = [share_of((game or {}).get("score")) for game in games]
    if whole and None in found:
        return Battles(0.0, 0.0)
    points = weight = 0.0
    for number, verdict in enumerate(found):
        if verdict is not None:
            share, times = verdict
            points += times * (share if number == 1 else 1 - share)
            weight += times
    return Battles(points, weight)


def _of_group(rows: Sequence[Placed], *, whole: bool, seed: int) -> dict[str, Any]:
    found = [battles(row["games"], whole=whole) for _, row in rows]
    counted = [question for question in found if question.weight]
    if not counted:
        raise DataError(Fault(key=NAME, rule="hold no verdict at all", remedy="judge again with a stronger judge"))
    verdicts = [(game or {}).get("score") for _, row in rows for game in row["games"]]
    return {
        "score": 100 * sum(question.points for question in counted) / sum(question.weight for question in counted),
        "ci": list(_bootstrap(counted, seed)),
        "n": len(counted),
        "unjudged": sum(share_of(verdict) is None for verdict in verdicts),
    }


def _bootstrap(questions: Sequence[Battles], seed: int) -> Interval:
    """Percentile interval of the weighted mean, from 0 to 100, over resampled questions."""
    import numpy as np

    points, weights = np.asarray(questions).T
    drawn = np.random.default_rng(seed).integers(len(questions), size=(RESAMPLES, len(questions)))
    means = 100 * points[drawn].sum(1) / weights[drawn].sum(1)
    return Interval(*(float(bound) for bound in np.quantile(means, (0.025, 0.975))))


def _check(rows: Sequence[Placed], baseline: str | None) -> None:
    faults = [Fault(key=place, rule=rule) for place, row in rows if (rule := _what_is_wrong(row)) is not None]
    if faults:
        raise DataError(faults)
    one_value(rows, "model", key=NAME, remedy="score each of them by itself")
    _refuse_twice(rows)
    stated = {row["baseline"] for _, row in rows if row.get("baseline") is not None}
    if baseline is not None and stated - {baseline}:
        shown = ", ".join(sorted(stated - {baseline}))
        raise DataError(Fault(key=NAME, value=shown, rule=f"is their baseline, and {baseline} was asked for"))
    for category in {row.get("category") for _, row in rows}:
        group = [placed for placed in rows if placed[1].get("category") == category]
        one_value(group, "baseline", key=NAME, remedy="score each of them by itself")


def _refuse_twice(rows: Iterable[Placed]) -> None:
    seen: set[Any] = set()
    for place, row in rows:
        question = row.get("uid", row.get("question_id"))
        if question in seen:
            raise DataError(
                Fault(
                    key=place,
                    value=question,
                    rule="is a question that was judged before",
                    remedy="keep one of its rows",
                )
            )
        seen.add(question)


def _what_is_wrong(row: Mapping[str, Any]) -> str | None:
    if "uid" not in row and "question_id" not in row:
        return "must have the question's uid or question_id"
    if not isinstance(row.get("model"), str):
        return "must name the model"
    games = row.get("games")
    if not isinstance(games, list | tuple) or len(games) != 2:
        return "must have two games"
    if not all(game is None or isinstance(game, Mapping) for game in games):
        return "must have games that are mappings with a score, or null"
    return None
