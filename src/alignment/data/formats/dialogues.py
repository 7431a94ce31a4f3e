"""A conversation in a column of its own, with two answers beside it: axolotl, LLaMA-Factory, ms-swift, ShareGPT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignment.data.formats.fields import is_messages, is_text, stated, text_of, the_one
from alignment.data.formats.row_format import Format, Row
from alignment.data.messages import Message, RowFault, from_text, kind_of, read_messages
from alignment.data.row_fault import shown

CONVERSATIONS = ("conversations", "conversation", "messages")
"""Columns that hold a conversation; `context` does beside two answers."""

_SIDES = ("chosen", "rejected")
_CONTEXTS = (*CONVERSATIONS, "context")


def _is_dialogue(value: object) -> bool:
    return is_messages(value) or (
        isinstance(value, list) and bool(value) and all(isinstance(turn, Mapping) for turn in value)
    )


def dialogue_of(row: Row, columns: Sequence[str]) -> list[Message]:
    """The conversation of a row, in whichever of the columns it is.

    Raises:
        RowFault: none, or two that differ, or one that is malformed.
    """
    column = the_one(row, columns, "conversation")
    value = from_text(row[column], column)
    if isinstance(value, list) and value and all(_is_exchange(turn) for turn in value):
        return [message for at, turn in enumerate(value) for message in _exchange(turn, f"{column}[{at}]")]
    return read_messages(value, column)


def _is_exchange(value: object) -> bool:
    """ms-swift's turns: what the human said and what the assistant answered, in one object."""
    return isinstance(value, Mapping) and "human" in value and "assistant" in value


def _exchange(turn: Mapping[str, Any], name: str) -> list[Message]:
    if len(turn) > 2:
        raise RowFault("not an exchange", f"{name} has more than human and assistant: {', '.join(turn)}")
    places = {key: f"{name}.{key}" for key in ("human", "assistant")}
    question, answer = (text_of({place: turn[key]}, place) for key, place in places.items())
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def answer_of(value: object, name: str) -> list[Message]:
    """One answer: a text, a message, or a list of one.

    Raises:
        RowFault: something else.
    """
    value = from_text(value, name)
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    if not isinstance(value, Mapping | list):
        raise RowFault("not an answer", f"{name} is {kind_of(value)}, {shown(value)}")
    return read_messages([value] if isinstance(value, Mapping) else value, name)


def _is_alone(value: object) -> bool:
    """Whether a side is an answer without the turns before it."""
    if is_text(value) or isinstance(value, Mapping):
        return True
    if not is_messages(value):
        return False
    messages = from_text(value, "")
    return isinstance(messages, list) and len(messages) == 1


def _is_context_pair(row: Row) -> bool:
    named = stated(row, _CONTEXTS)
    conversation = bool(named) and all(_is_dialogue(row[column]) for column in named)
    return conversation and all(_is_alone(row.get(side)) for side in _SIDES)


def _context_pair(row: Row) -> Row:
    return {"prompt": dialogue_of(row, _CONTEXTS), **{side: answer_of(row.get(side), side) for side in _SIDES}}


def _is_swift_pair(row: Row) -> bool:
    return any(_is_dialogue(row.get(column)) for column in CONVERSATIONS) and bool(stated(row, _WORSE))


def _swift_pair(row: Row) -> Row:
    """The last turn is the better answer; the worse one is alone, or ends a conversation of its own."""
    conversation = dialogue_of(row, CONVERSATIONS)
    rejected = row.get("rejected_messages")
    if rejected is not None:
        return {"chosen": conversation, "rejected": read_messages(rejected, "rejected_messages")}
    worse = row.get("rejected_response")
    worse = worse[0] if isinstance(worse, list) and len(worse) == 1 else worse
    return {
        "prompt": conversation[:-1],
        "chosen": conversation[-1:],
        "rejected": answer_of(text_of({"rejected_response": worse}, "rejected_response"), "rejected_response"),
    }


def _is_sharegpt(row: Row) -> bool:
    try:
        return bool(stated(row, CONVERSATIONS[:2])) and _sharegpt(row)["messages"][-1]["role"] == "assistant"
    except RowFault:
        return False


def _sharegpt(row: Row) -> Row:
    return {"messages": dialogue_of(row, CONVERSATIONS[:2])}


def _is_openai_pair(row: Row) -> bool:
    asked = row.get("input")
    return (
        isinstance(asked, Mapping)
        and is_messages(asked.get("messages"))
        and all(is_messages(row.get(side)) for side in _OPENAI_SIDES)
    )


def _openai_pair(row: Row) -> Row:
    asked = row.get("input")
    if not isinstance(asked, Mapping):
        raise RowFault("not an input", f"input is {kind_of(asked)}, {shown(asked)}, not an object with messages")
    chosen, rejected = (answer_of(row.get(side), side) for side in _OPENAI_SIDES)
    tools = {"tools": asked["tools"]} if asked.get("tools") else {}
    return {
        **tools,
        "prompt": read_messages(asked.get("messages"), "input.messages"),
        "chosen": chosen,
        "rejected": rejected,
    }


_OPENAI_SIDES = ("preferred_output", "non_preferred_output")
_WORSE = ("rejected_response", "rejected_messages")

CONTEXT_PAIRS = Format(
    name="context_pairs",
    gives="preference",
    shape="messages or conversations up to the answer, with chosen and rejected as one message or text each",
    columns=(*_CONTEXTS, *_SIDES),
    needs=(_CONTEXTS, ("chosen",), ("rejected",)),
    recognizes=_is_context_pair,
    convert=_context_pair,
)
SWIFT_PAIRS = Format(
    name="swift_pairs",
    gives="preference",
    shape="messages with the chosen answer last, and rejected_response or rejected_messages",
    columns=(*CONVERSATIONS, *_WORSE),
    needs=(CONVERSATIONS, _WORSE),
    recognizes=_is_swift_pair,
    convert=_swift_pair,
)
OPENAI_PAIRS = Format(
    name="openai_pairs",
    gives="preference",
    shape="input with messages, preferred_output and non_preferred_output",
    columns=("input", *_OPENAI_SIDES),
    needs=(("input",), *((side,) for side in _OPENAI_SIDES)),
    recognizes=_is_openai_pair,
    convert=_openai_pair,
)
SHAREGPT = Format(
    name="sharegpt",
    gives="conversation",
    shape="conversations, a list of turns (from and value, or role and content)",
    columns=CONVERSATIONS[:2],
    needs=(CONVERSATIONS[:2],),
    recognizes=_is_sharegpt,
    convert=_sharegpt,
)
