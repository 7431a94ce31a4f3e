"""How much better the chosen answer of each row was judged, where the source has scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.messages import RowFault
from alignment.data.slices import slice_of, split_name
from alignment.data.sources import Request, find_source

if TYPE_CHECKING:
    from datasets import Dataset

SIDES = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen-rating", "rejected-rating"),
    ("chosen_rating", "rejected_rating"),
)
"""Columns with the scores of both answers."""
LISTS = (
    ("all_rm_scores", "all_generated_responses"),
    ("scores", "responses"),
    ("scores", "completions"),
)
"""Columns with the scores of several answers, and those answers, among which both sides are looked for."""

Scores = tuple[float, float] | dict[int, float]
"""Of chosen and rejected; or of each answer, by the hash of its text."""


def margins_of(rows: Dataset, requests: Sequence[Request], *, base: Path | None) -> list[float | None]:
    """[rows] Score of the chosen answer minus that of the rejected one; `None` where they are not known.

    Args:
        rows: checked pairs.
        requests: their sources, which are read again for their scores.
        base: the recipe's folder.
    """
    scores = {f"{request.split} of {request.id}": dict(_scores(request, base)) for request in requests}
    margins: list[float | None] = []
    for batch in rows.select_columns(["origin", "chosen", "rejected"]).iter(1000):
        for origin, *sides in zip(batch["origin"], batch["chosen"], batch["rejected"], strict=True):
            found = scores.get(origin["source"], {}).get(origin["row"])
            margins.append(None if found is None else _margin(found, *(side[-1]["content"] for side in sides)))
    return margins


def _margin(found: Scores, chosen: str, rejected: str) -> float | None:
    if isinstance(found, tuple):
        return found[0] - found[1]
    better, worse = (found.get(hash(text.strip())) for text in (chosen, rejected))
    return None if better is None or worse is None else better - worse


def _scores(request: Request, base: Path | None) -> Iterator[tuple[int, Scores]]:
    """Number of a row of the source, and its scores."""
    source = find_source(request, base).rows
    columns = None
    for number, row in enumerate(_sliced(source, request.split)):
        row = row[0] if isinstance(row, tuple) else row
        if isinstance(row, RowFault):
            continue
        if columns is None:
            columns = _columns(row)
        if columns is None:
            return
        if (scores := _read(row, columns)) is not None:
            yield number, scores


def _sliced(rows: Any, split: str) -> Any:
    if split_name(split) == split:
        return rows
    taken = slice_of(split, sum(1 for _ in rows))
    return islice(rows, taken.start, taken.stop)


def _columns(row: Mapping[str, Any]) -> tuple[str, str] | None:
    return next((names for names in (*SIDES, *LISTS) if all(name in row for name in names)), None)


def _read(row: Mapping[str, Any], columns: tuple[str, str]) -> Scores | None:
    one, other = row.get(columns[0]), row.get(columns[1])
    if columns in SIDES:
        return None if (better := _score(one)) is None or (worse := _score(other)) is None else (better, worse)
    if not isinstance(one, list) or not isinstance(other, list) or len(one) != len(other):
        return None
    judged = [(text, _score(score)) for score, text in zip(one, other, strict=True)]
    return {hash(text.strip()): score for text, score in judged if isinstance(text, str) and score is not None}


def _score(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None
