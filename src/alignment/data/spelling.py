"""Messages as other tools spell them: `from` and `value`, other names of roles, calls of functions as turns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from alignment.data.row_fault import RowFault, kind_of, shown

OTHER_KEYS = {"role": "from", "content": "value"}
"""Our key of a message, and the other one that it may have."""

ROLE_NAMES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "observation": "tool",
    "tool_response": "tool",
}
"""Other names of roles, and ours. The turns of `CALLING` are the assistant's too."""

CALLING = ("function_call", "tool_call")
"""Roles of a turn whose content is the JSON of the functions that the assistant calls."""


def key_in(message: Mapping[str, Any], key: str) -> str:
    """The name that `role` or `content` has in this message, for messages to the user."""
    other = OTHER_KEYS[key]
    spelled = other in message or (key not in message and any(each in message for each in OTHER_KEYS.values()))
    return other if message.get(key) is None and spelled else key


def respelled(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The message with our keys and roles; what is missing stays missing.

    Raises:
        RowFault: a call of functions that is no JSON, or content that is not text.
    """
    ours = {key: value for key, value in message.items() if key not in OTHER_KEYS.values()}
    for key, other in OTHER_KEYS.items():
        if message.get(key) is None and other in message:
            ours[key] = message[other]
    role = ours.get("role")
    if isinstance(role, str):
        ours["role"] = ROLE_NAMES.get(role, role)
    if role in CALLING:
        return {**ours, "role": "assistant", "content": "", "tool_calls": _calls(ours.get("content"), name)}
    if isinstance(ours.get("content"), list | tuple):
        ours["content"] = _text_of_parts(ours["content"], f"{name}.content")
    return ours


def joined_calls(messages: Sequence[Mapping[str, Any]], spelled: Sequence[Any]) -> list[dict[str, Any]]:
    """Calls that were spelled as turns of their own, one after the other, in one message.

    Args:
        messages: as `respelled` made them.
        spelled: the same messages, as the source has them.
    """
    joined: list[dict[str, Any]] = []
    before = None
    for message, source in zip(messages, spelled, strict=True):
        role = source.get(key_in(source, "role"))
        if role in CALLING and before in CALLING:
            joined[-1] = {**joined[-1], "tool_calls": [*joined[-1]["tool_calls"], *message["tool_calls"]]}
        else:
            joined.append(dict(message))
        before = role
    return joined


def _calls(content: object, name: str) -> list[dict[str, Any]]:
    """`{"name": ..., "arguments": ...}`, or a list of such, as `tool_calls` has them."""
    try:
        found = json.loads(content) if isinstance(content, str) else content
    except (ValueError, RecursionError) as error:
        raise RowFault("function call as unreadable text", f"{name} is no JSON: {shown(content)}") from error
    calls = [found] if isinstance(found, Mapping) else found
    if not isinstance(calls, list) or not calls or not all(isinstance(call, Mapping) for call in calls):
        raise RowFault("not a function call", f"{name} is {kind_of(found)}, not an object with name and arguments")
    return [{"type": "function", "function": _call(call, name)} for call in calls]


def _call(call: Mapping[str, Any], name: str) -> dict[str, Any]:
    call = call["function"] if isinstance(call.get("function"), Mapping) else call
    if not isinstance(call.get("name"), str):
        raise RowFault("not a function call", f"{name} has no name of a function: {shown(dict(call))}")
    arguments = call.get("arguments", call.get("parameters", {}))
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):  # what is no JSON was passed as the text that it is
            arguments = json.loads(arguments)
    return {"name": call["name"], "arguments": arguments}


def _text_of_parts(parts: Sequence[Any], name: str) -> object:
    """Content in parts, all of them text: the text. Anything else stays what it is, and is refused as such."""
    for part in parts:
        if isinstance(part, Mapping) and part.get("type", "text") != "text":
            raise RowFault("content that is not text", f"{name} holds {shown(part['type'])}; this trains on text alone")
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
    return "".join(texts) if texts and len(texts) == len(parts) else parts
