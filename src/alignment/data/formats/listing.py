"""What of a source nothing reads, for the log and the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alignment.data.formats.reader import RowReader
from alignment.data.messages import CARRIED, NOT_CARRIED
from alignment.data.spelling import OTHER_KEYS

_MESSAGES = (
    *("prompt", "chosen", "rejected", "messages", "completion"),
    *("conversations", "conversation", "context", "history", "rejected_messages"),
)
"""Columns that may hold messages, in any format."""

_KEYS = ("role", "content", *OTHER_KEYS.values(), *CARRIED, *NOT_CARRIED)


def unread_of(columns: Mapping[str, Iterable[str]], reader: RowReader) -> tuple[str, ...]:
    """Columns, and the keys of the messages in them, that nothing reads, but for those that the recipe leaves out.

    Args:
        columns: each of a source, and the keys of what it holds.
    """
    ours = {column: reader.asked.name_of(column) for column in columns}
    left = [column for column in columns if ours[column] is not None and not reader.reads(column)]
    keys = [
        f"{column}[].{key}"
        for column, found in columns.items()
        if reader.reads(column) and ours[column] in _MESSAGES
        for key in found
        if key not in _KEYS and f"{column}[].{key}" not in reader.asked.column_map
    ]
    # JSON can spell half of a surrogate pair, which no terminal shows.
    return tuple(name.encode("utf-8", "backslashreplace").decode() for name in (*left, *keys))
