"""Messages as sources bring them: lists, lists stored as text, with tool calls and reasoning, in one plain form."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from alignment.data.row_fault import RowFault, kind_of
from alignment.data.spelling import CALLING, ROLE_NAMES, joined_calls, key_in, respelled

Message = dict[str, Any]
"""`{"role": ..., "content": ...}`, and whichever of `CARRIED` the source has."""

ROLES = ("system", "user", "assistant", "tool")

CARRIED = ("tool_calls", "tool_call_id", "name", "reasoning_content", "thinking", "reasoning")
"""What a chat template may read of a message beside role and content."""

NOT_CARRIED = {
    **dict.fromkeys(("function_call", "function_calls"), "write tool_calls"),
    **dict.fromkeys(("tools", "functions"), "put them into a column tools"),
    **dict.fromkeys(("image", "images", "video", "videos", "audio", "audios"), "this trains on text alone"),
    "documents": "put them into the content",
}
"""What would change the tokens if it were read, and is not: refused by name, with the remedy."""

_PLAIN = {"role", "content"}

LONGEST = 8 * 2**20
"""Bytes of one row: some two million tokens, of which a tokenizer makes two gigabytes of memory."""

_ROLE = re.compile(rf"""["'](?:role|from)["']\s*:\s*["'](?:{"|".join((*ROLES, *ROLE_NAMES, *CALLING))})["']""")
_CONTENT = re.compile(r"""["'](?:content|value)["']\s*:""")


def read_messages(value: object, name: str) -> list[Message]:
    """A list of messages, each in our spelling and reduced to role, content and `CARRIED`.

    Raises:
        RowFault: `value` is not a list of messages with string role and content.
    """
    if value is None:
        raise RowFault("null value", f"{name} is null")
    value = from_text(value, name)
    if not isinstance(value, list | tuple):
        raise RowFault("not a list of messages", f"{name} is {kind_of(value)}")
    if not value:
        raise RowFault("empty list of messages", f"{name} has no message")
    messages = [_message(message, f"{name}[{position}]") for position, message in enumerate(value)]
    return joined_calls(messages, value) if any("tool_calls" in message for message in messages) else messages


def from_text(value: object, name: str) -> object:
    """`value`, or the messages that it holds as text: exports to CSV or Parquet write lists as JSON, or as Python.

    Raises:
        RowFault: it looks like a list of messages, and does not read as one.
    """
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")) or not _ROLE.search(value):
        return value
    found: object = None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(value.strip())
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    found = [found] if isinstance(found, dict) else found
    if isinstance(found, list) and found and all(map(_is_message, found)):
        return found
    if found is None and value.lstrip().startswith("[") and _CONTENT.search(value):
        raise RowFault("messages as unreadable text", f"{name} looks like a list of messages, and is no JSON")
    return value


def read_tools(value: object) -> list[dict[str, Any]] | None:
    """The tools of a row, given as a list of JSON schemas or as the text of one; `None` without any.

    Raises:
        RowFault: they are something else.
    """
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowFault("tools as unreadable text", f"tools is no JSON: {error}") from error
    if isinstance(value, list | tuple) and value and all(isinstance(tool, str) for tool in value):
        return read_tools(f"[{', '.join(value)}]")
    if value is None or value in ("", []):
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(tool, Mapping) for tool in value):
        raise RowFault("not a list of tools", f"tools is {kind_of(value)}, not a list of JSON schemas")
    return [dict(tool) for tool in value]


def read_text(value: str, name: str) -> str:
    """JSON can spell half of a surrogate pair, which is no text: no tokenizer takes it."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowFault("not valid Unicode", f"{name} holds a lone surrogate") from error
    return value


def too_long() -> RowFault:
    """The fault of a row of more than `LONGEST` bytes."""
    return RowFault("too long a row", f"it has more than {LONGEST:,} bytes")


def without_nulls(value: Any) -> Any:
    """`value` without the nulls that a typed table puts wherever one row has a field and another has not."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def pack(messages: Sequence[Message]) -> list[dict[str, str | None]]:
    """Messages in the one type that a table of them can have: what is rare is JSON text in `more`."""
    packed = []
    for message in messages:
        more = {key: message[key] for key in CARRIED if key in message}
        text = json.dumps(more, ensure_ascii=False) if more else None
        packed.append({"role": message["role"], "content": message["content"], "more": text})
    return packed


def unpack(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """What `pack` packed; messages that never were are taken as they are."""
    return [
        {**{key: value for key, value in message.items() if key != "more"}, **json.loads(message.get("more") or "{}")}
        for message in messages
    ]


def _is_message(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return key_in(value, "role") in value and (key_in(value, "content") in value or "tool_calls" in value)


def _message(value: object, name: str) -> Message:
    if not isinstance(value, Mapping):
        raise RowFault("not a list of messages", f"{name} is {kind_of(value)}, not a message")
    if value.keys() == _PLAIN and value["role"] in ROLES and isinstance(value["content"], str):  # nearly all of them
        return {"role": value["role"], "content": read_text(value["content"], f"{name}.content")}
    named = {field: f"{name}.{key_in(value, field)}" for field in ("role", "content")}
    value = respelled(value, name)
    more = {key: value[key] for key in CARRIED if value.get(key) is not None and value[key] != []}
    if value.get("content") is None and "tool_calls" in more:
        value = {**value, "content": ""}
    for field, place in named.items():
        if value.get(field) is None:
            raise RowFault("null value" if field in value else f"message without {field}", place)
        if not isinstance(value[field], str):
            raise RowFault(f"non-string {field}", f"{place} is {kind_of(value[field])}")
    for key, remedy in NOT_CARRIED.items():
        if value.get(key) not in (None, [], {}, ""):
            raise RowFault(f"{key} is not read", f"{name}.{key}; {remedy}")
    if "tool_calls" in more:
        _check_calls(more["tool_calls"], f"{name}.tool_calls")
    return {"role": value["role"], "content": read_text(value["content"], named["content"]), **more}


def _check_calls(calls: object, name: str) -> None:
    if not isinstance(calls, list | tuple) or not all(isinstance(call, Mapping) for call in calls):
        raise RowFault("not a list of tool calls", f"{name} is {kind_of(calls)}, not a list of objects")
