"""Checked rows as texts: what the user asks in each, and everything that is said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH = 1000


class RowPrompts:
    """The prompts of checked rows, one after the other: the user's turns, on lines of their own."""

    def __init__(self, rows: Dataset) -> None:
        self._column = "prompt" if "prompt" in rows.column_names else "messages"
        self._rows = rows.select_columns([self._column])

    def __iter__(self) -> Iterator[str]:
        for row in each_row(self._rows):
            yield "\n".join(message["content"] for message in row[self._column] if message["role"] == "user")


class RowTexts(Sequence[str]):
    """What checked rows say: prompt and answers, or all messages."""

    def __init__(self, rows: Dataset) -> None:
        self._rows = rows.remove_columns("origin")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        return _said(self._rows[row])

    def __iter__(self) -> Iterator[str]:
        return map(_said, each_row(self._rows))

    def whole(self) -> Iterator[str]:
        """Everything that decides the tokens of a row, as one text."""
        return (json.dumps(row, ensure_ascii=False) for row in each_row(self._rows))


def each_row(rows: Dataset) -> Iterator[dict[str, Any]]:
    """The rows one by one, read in batches."""
    for batch in rows.iter(_BATCH):
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))


def _said(row: Mapping[str, Any]) -> str:
    lists = (value for value in row.values() if isinstance(value, list))
    return "\n".join(message["content"] for messages in lists for message in messages)
