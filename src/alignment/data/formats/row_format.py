"""What a format is: a shape that rows have, told by their columns, and how such a row becomes canonical."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from alignment.data.messages import Message

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The answers to one prompt, each with a score."""

    prompt: Sequence[Message]
    responses: Sequence[str]
    scores: Sequence[float]
    """Higher is better."""


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
    needs: tuple[tuple[str, ...], ...]
    """Of each group one column must be there, or the format is not meant."""
    yields_to: tuple[str, ...] = ()
    """Formats that are meant where they are recognized too: `chosen` says more than the scores it was chosen by."""
    recognizes: Callable[[Row], bool]
    """Whether a row has this shape, by its columns and the kinds of their values."""
    convert: Callable[[Row], Row | Scored]
    """A row to its canonical row, or to answers of which pairs are to be selected; raises `RowFault`."""
