"""Numbers and values in words, for the model card."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def duration(seconds: float) -> str:
    """`3725` -> `1 h 2 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def median(values: Sequence[float]) -> float | None:
    """`None` when there are no values."""
    return statistics.median(values) if values else None


def last(values: Sequence[float]) -> float | None:
    """`None` when there are no values."""
    return values[-1] if values else None


def plural(number: int, noun: str) -> str:
    """`1 process`, `2 processes`: for nouns that take `es` in the plural."""
    return f"{number} {noun}{'es' if number > 1 else ''}"


def count(number: int) -> str:
    """`59569` -> `59,569`."""
    return f"{number:,}"


def shown(value: Any) -> str:
    """A value as a table cell: four significant digits, no line breaks, no column separators."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return count(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(item)}" for key, item in value.items())
    return str(value).replace("\n", " ").replace("|", r"\|")
