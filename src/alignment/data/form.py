"""The one form that checked rows have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from alignment.data.conversations import check_conversation
from alignment.data.messages import LONGEST, pack, read_text, read_tools, too_long
from alignment.data.pairs import check_pair

if TYPE_CHECKING:
    from datasets import Features

Kind = Literal["preference", "conversation"]

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "conversation": ("messages",),
}
"""The columns of checked rows that hold a list of messages each."""


def place_of(origin: Mapping[str, Any]) -> str:
    """What messages call a row: `row 2 of train of pairs.jsonl (pairs.jsonl line 3)`."""
    line = f" ({origin['place']})" if origin["place"] else ""
    return f"row {origin['row']} of {origin['source']}{line}"


def origin_of(name: str, index: int, place: str | None = None) -> dict[str, Any]:
    return {"source": name, "row": index, "place": place}


def checked_row(row: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The columns of a canonical row that is fit to train on, but for its origin.

    Raises:
        RowFault: it is not.
    """
    tools = read_tools(row.get("tools"))
    text = None if tools is None else read_text(json.dumps(tools, ensure_ascii=False), "tools")
    checked: dict[str, Any] = {"tools": text}
    if kind == "preference":
        checked |= {side: pack(messages) for side, messages in check_pair(row)._asdict().items()}
    else:
        messages, first_trained = check_conversation(row)
        checked |= {"messages": pack(messages), "first_trained": first_trained}
    if sum(len(message["content"]) for column in COLUMNS[kind] for message in checked[column]) > LONGEST:
        raise too_long()
    return checked


def features_of(kind: Kind) -> Features:
    from datasets import Features, Value

    text = Value("string")
    messages = {column: [{"role": text, "content": text, "more": text}] for column in COLUMNS[kind]}
    counted = {"first_trained": Value("int32")} if kind == "conversation" else {}
    origin = {"source": text, "row": Value("int64"), "place": text}
    return Features({**messages, **counted, "tools": text, "origin": origin})
