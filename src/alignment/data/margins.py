"""How much better the chosen answer of each row was judged, where the source has scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alignment.data.files import FileRows
from alignment.data.messages import RowFault
from alignment.data.row_texts import each_row
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


def scores_of(requests: Sequence[Request]) -> dict[str, dict[int, Scores]]:
    """Name of a source -> number of a row -> its scores; the sources are read again, those with scores alone."""
    return {request.name: dict(_scores(request)) for request in requests}


def margins_of(rows: Dataset, scores: Mapping[str, Mapping[int, Scores]]) -> list[float | None]:
    """[rows] Score of the chosen answer minus that of the rejected one; `None` where they are not known.

    Args:
        rows: checked pairs.
        scores: of their sources.
    """
    if not any(scores.values()):
        return [None] * len(rows)
    margins: list[float | None] = []
    for row in each_row(rows.select_columns(["origin", "chosen", "rejected"])):
        found = scores.get(row["origin"]["source"], {}).get(row["origin"]["row"])
        sides = (row[side][-1]["content"] for side in ("chosen", "rejected"))
        margins.append(None if found is None else _margin(found, *sides))
    return margins


def _margin(found: Scores, chosen: str, rejected: str) -> float | None:
    if isinstance(found, tuple):
        return found[0] - found[1]
    better, worse = (found.get(hash(text.strip())) for text in (chosen, rejected))
    return None if better is None or worse is None else better - worse


def _scores(request: Request) -> Iterator[tuple[int, Scores]]:
    """Number of a row of the source, and its scores."""
    source = find_source(request).rows
    first = next(iter(source), None)
    columns = None if first is None else _columns(_row(first))
    if columns is None:
        return
    rows = source if isinstance(source, FileRows) else each_row(source.select_columns(list(columns)))
    for number, row in enumerate(_sliced(rows, request.split)):
        if (scores := _read(_row(row), columns)) is not None:
            yield number, scores


def _row(read: Any) -> Mapping[str, Any]:
    """A row without its place in a file, which rows of files come with; empty if it could not be read."""
    row = read[0] if isinstance(read, tuple) else read
    return {} if isinstance(row, RowFault) else row


def _sliced(rows: Iterable[Any], split: str) -> Iterable[Any]:
    if split_name(split) == split:
        return rows
    every = list(rows)
    taken = slice_of(split, len(every))
    return every[taken.start : taken.stop]


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
