"""AlpacaEval's numbers from its public annotation format, by any judge.

The win rate is arithmetic and needs no library; it counts as `alpaca_eval.metrics.get_winrate` (0.6) does. The
length-controlled one is that library's own (`alignment.evaluation.length_control`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from numbers import Real
from statistics import fmean, stdev
from typing import Any

from alignment.errors import DataError, Fault
from alignment.evaluation.length_control import published_length_controlled
from alignment.evaluation.rows import Placed, Source, one_value, placed_rows

NAME = "annotations"


def win_rates(source: Source) -> dict[str, Any]:
    """Win rates of `generator_2` against `generator_1`, from 0 to 100.

    Args:
        source: annotations as AlpacaEval writes them: rows with `instruction`, `output_1`, `output_2`, `generator_1`,
            `generator_2`, `annotator` and `preference`, from 1 (output 1 is better) to 2 (output 2 is).

    Returns:
        `win_rate`; `standard_error` (`None` for one row); `n`, the annotations that count; and
        `length_controlled_win_rate`, `None` where what it needs is not on this machine. Left-out annotations and the
        reason of a `None` are told on stderr.

    Raises:
        DataError: rows without a preference column, preferences that are no numbers, several models in one file.
    """
    rows = placed_rows(source, key=NAME)
    for column in ("generator_1", "generator_2", "annotator"):
        one_value(rows, column, key=NAME, remedy="score each of them by itself")
    rate, error, count = raw_win_rate(rows)
    controlled, reason = published_length_controlled([row for _, row in rows])
    if controlled is None:
        print(f"No length-controlled win rate: {reason}.", file=sys.stderr)
    return {
        "win_rate": rate,
        "standard_error": error,
        "n": count,
        "length_controlled_win_rate": None if controlled is None else controlled[0],
    }


def raw_win_rate(rows: Sequence[Placed]) -> tuple[float, float | None, int]:
    """Win rate, its standard error and the annotations that count (see `win_rates`)."""
    shares = preference_shares(rows)
    error = 100 * stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else None
    return 100 * fmean(shares), error, len(shares)


def preference_shares(rows: Sequence[Placed]) -> list[float]:
    """What each annotation gives output 2, from 0 to 1; ties, written 1.5 or 0, are a half.

    Annotations whose preference is null or outside 1 to 2 do not count, which is told on stderr.

    Raises:
        DataError: preferences that are missing or no numbers, or none that counts.
    """
    faults = [
        Fault(key=place, value=row.get("preference"), rule="must have a number, or null, as its preference")
        for place, row in rows
        if "preference" not in row or not _is_number_or_none(row["preference"])
    ]
    if faults:
        raise DataError(faults)
    stated = [1.5 if row["preference"] == 0 else row["preference"] for _, row in rows]
    shares = [float(value) - 1 for value in stated if value is not None and 1 <= value <= 2]
    if len(shares) < len(rows):
        print(f"{len(rows) - len(shares)} of {len(rows)} annotations hold no preference.", file=sys.stderr)
    if not shares:
        raise DataError(Fault(key=NAME, rule="hold no preference at all"))
    return shares


def _is_number_or_none(value: object) -> bool:
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))
