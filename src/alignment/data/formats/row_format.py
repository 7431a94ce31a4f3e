"""What a format is: a shape that rows have, told by their columns, and how such a row becomes canonical."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Format:
    """One shape of rows."""

    name: str
    """What `dataset_format` calls it."""
    gives: Literal["preference", "conversation"]
    """What its rows become: `prompt`, `chosen` and `rejected`, or what `read_conversation` reads."""
    shape: str
    """What a row has, for messages."""
    columns: tuple[str, ...]
    """Every column that may be read, beside those of `system` and `tools`."""
    recognizes: Callable[[Row], bool]
    """Whether a row has this shape, by its columns and the kinds of their values."""
    convert: Callable[[Row], Row]
    """A row to its canonical row; raises `RowFault`."""
