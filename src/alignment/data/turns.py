"""The turns of a row: read from its columns, and judged by their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignment.data.messages import ROLES, Message, RowFault, from_text, kind_of, read_messages, read_text

MESSAGES = ("messages", "prompt", "completion", "chosen", "rejected")
"""Columns of the canonical form that hold messages, or text."""

TEXT = "text"
"""The role of the one message that a row without turns has: all of it is trained, and no template writes around it."""

SYSTEM = ("system", "system_prompt", "system_message")
"""Columns that hold a system message; it comes before every other turn, and a blank one says nothing."""


def with_lists(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, with lists of messages where it holds the text of such lists."""
    return {**row, **{column: from_text(row[column], column) for column in MESSAGES if column in row}}


def with_system(row: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    """The messages behind the system message of a column of its own."""
    for column in SYSTEM:
        text = row.get(column)
        if text is None or (isinstance(text, str) and not text.strip()):
            continue
        if not isinstance(text, str):
            raise RowFault("system message is no text", f"{column} is {kind_of(text)}")
        if messages[0]["role"] != "system":
            messages = [{"role": "system", "content": read_text(text, column)}, *messages]
        elif messages[0]["content"].strip() != text.strip():
            raise RowFault("two system messages", f"{column} differs from the conversation's own")
    return messages


def side_of(row: Mapping[str, Any], name: str) -> str | list[Message]:
    if name not in row:
        raise RowFault("missing column", name)
    value = row[name]
    return read_text(value, name) if isinstance(value, str) else read_messages(value, name)


def prompt_of(value: object) -> list[Message]:
    if isinstance(value, str):
        if not value.strip():
            raise RowFault("missing prompt", "prompt is empty")
        return [{"role": "user", "content": read_text(value, "prompt")}]
    if value is None or value == []:
        raise RowFault("missing prompt", "the answers have no prompt")
    return read_messages(value, "prompt")


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def check_turns(messages: Sequence[Message], name: str) -> None:
    """Refuse a conversation unless it runs [system,] user, assistant, ..., assistant and its last turn says
    something.

    Raises:
        RowFault: wrong roles, or an empty completion.
    """
    for position, message in enumerate(messages):
        if message["role"] not in ROLES:
            raise RowFault("wrong roles", f"{name} has the unknown role {message['role']!r} at turn {position}")
        if message["role"] == "system" and position > 0:
            raise RowFault("wrong roles", f"{name} has a system message at turn {position}, not first")
    if messages[-1]["role"] != "assistant":
        raise RowFault("wrong roles", f"the last message of {name} is {messages[-1]['role']}, not assistant")
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    if len(turns) < 2:
        raise RowFault("missing prompt", f"{name} has no user turn before the answer")
    for position, message in enumerate(turns):
        expected = _expected(turns[position - 1] if position else None)
        if message["role"] not in expected:
            raise RowFault("wrong roles", f"turn {position} of {name} is {message['role']}, not {expected[0]}")
    if not said(messages[-1]):
        raise RowFault("empty completion", f"the last message of {name} is empty")


def _expected(before: Message | None) -> tuple[str, ...]:
    """The roles that may follow a message."""
    if before is None:
        return ("user",)
    if before["role"] == "user":
        return ("assistant",)
    if before["role"] == "tool":
        return ("assistant", "tool")
    return ("tool", "user") if "tool_calls" in before else ("user",)


def said(message: Message) -> str:
    """What an answer says, for telling whether it says anything and whether two say the same."""
    more = {key: value for key, value in message.items() if key not in ("role", "content")}
    return message["content"].strip() + (str(more) if more else "")
