"""Prompts as sources bring them: a question as text, or a conversation up to the answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from alignment.data.files import FileRows
from alignment.data.form import origin_of, place_of
from alignment.data.messages import CARRIED, ROLES, RowFault, read_messages, read_text
from alignment.data.slices import slice_of, split_name
from alignment.data.sources import Source

USUAL = ("prompt", "messages", "chosen")
"""Columns that hold a prompt, the likeliest first."""


@dataclass(frozen=True)
class Prompt:
    """What is asked."""

    id: str
    """sha256 of its text, or of its messages where it is more than a user's question."""
    messages: tuple[dict[str, str], ...]
    """The conversation so far; the last message is the user's, or a tool's."""

    @property
    def text(self) -> str | None:
        """The question, where that is all; None for any other conversation."""
        return _question(self.messages)

    def __str__(self) -> str:
        text = " ".join(self.messages[-1]["content"].split())
        return f"prompt {self.id[:12]} ({text[:60]}{'…' if len(text) > 60 else ''})"


def prompt_of(row: Mapping[str, Any], column: str | None) -> Prompt:
    """The prompt in `column` of a row; in the first of `USUAL` that it has, when none is named.

    Raises:
        RowFault: there is none, or it is no question and no conversation.
    """
    named = column or next((name for name in USUAL if row.get(name) is not None), USUAL[0])
    if named not in row:
        raise RowFault("missing column", named)
    value = row[named]
    messages = [{"role": "user", "content": value}] if isinstance(value, str) else read_messages(value, named)
    while messages and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    _check(messages, named)
    return make_prompt(messages)


def make_prompt(messages: list[dict[str, Any]]) -> Prompt:
    """The prompt that these messages are."""
    text = _question(tuple(messages))
    told = text if text is not None else json.dumps(messages, ensure_ascii=False, sort_keys=True)
    return Prompt(hashlib.sha256(told.encode()).hexdigest(), tuple(messages))


def placed_rows(source: Source, split: str, name: str) -> Iterator[tuple[Mapping[str, Any] | RowFault, str]]:
    """The rows of a split, or of a slice of one, each with what messages call it."""
    total = None if split_name(split) == split else sum(1 for _ in source.rows)
    taken = slice(None) if total is None else slice(*_ends(slice_of(split, total)))
    plain = source.rows if isinstance(source.rows, FileRows) else ((row, None) for row in source.rows)
    for index, (row, place) in islice(enumerate(plain), taken.start, taken.stop):
        yield row, place_of(origin_of(name, index, place))


def _ends(taken: range) -> tuple[int, int]:
    return taken.start, taken.stop


def _check(messages: list[dict[str, Any]], name: str) -> None:
    if not messages:
        raise RowFault("missing prompt", f"{name} begins with an answer")
    for at, message in enumerate(messages):
        where = f"{name}[{at}]"
        if message["role"] not in ROLES:
            raise RowFault("unknown role", f"{where} is {message['role']!r}, not one of {', '.join(ROLES)}")
        if more := [key for key in CARRIED if key in message]:
            raise RowFault(f"{more[0]} is not read", f"{where}; an engine is asked with role and content alone")
        read_text(message["content"], where)
    if messages[-1]["role"] == "system":
        raise RowFault("missing prompt", f"{name} ends with a system message")
    if not messages[-1]["content"].strip():
        raise RowFault("missing prompt", f"{name} is empty")


def _question(messages: tuple[dict[str, str], ...]) -> str | None:
    alone = len(messages) == 1 and messages[0]["role"] == "user"
    return messages[0]["content"] if alone else None
