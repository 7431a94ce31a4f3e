"""The one form that checked rows have, and what of a source goes into it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from alignment.data.messages import CARRIED, LONGEST, NOT_CARRIED, pack, read_text, read_tools, too_long
from alignment.data.pairs import NOT_READ, SYSTEM, check_conversation, check_pair
from alignment.errors import DataError, Fault, did_you_mean

if TYPE_CHECKING:
    from datasets import Features

Kind = Literal["preference", "conversation"]

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "conversation": ("messages",),
}
"""The columns of checked rows that hold a list of messages each."""

_REQUIRED: dict[Kind, tuple[tuple[str, ...], ...]] = {
    "preference": (("chosen",), ("rejected",)),
    "conversation": (("messages", "completion", "chosen"),),
}
_MESSAGES: dict[Kind, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "conversation": ("messages", "prompt", "completion", "chosen"),
}
_BESIDE = ("tools", *SYSTEM, *NOT_READ)
_KEYS = ("role", "content", *CARRIED, *NOT_CARRIED)


def read_columns(kind: Kind) -> tuple[str, ...]:
    """The columns of a source that are read."""
    return (*_MESSAGES[kind], *_BESIDE)


def place_of(origin: Mapping[str, Any]) -> str:
    """What messages call a row: `row 2 of train of pairs.jsonl (pairs.jsonl line 3)`."""
    line = f" ({origin['place']})" if origin["place"] else ""
    return f"row {origin['row']} of {origin['source']}{line}"


def origin_of(name: str, index: int, place: str | None = None) -> dict[str, Any]:
    return {"source": name, "row": index, "place": place}


def require_columns(known: Sequence[str], wanted: Sequence[str] | None, kind: Kind, name: str) -> None:
    unknown = [column for column in wanted or () if column not in known]
    if unknown:
        remedies = {column: did_you_mean(column, known) or f"its columns are {', '.join(known)}" for column in unknown}
        raise DataError(
            [
                Fault(key=f"columns of {name}", value=column, rule="does not exist", remedy=remedy)
                for column, remedy in remedies.items()
            ]
        )
    columns = [column for column in known if wanted is None or column in wanted]
    faults = []
    for alternatives in _REQUIRED[kind]:
        if not any(column in columns for column in alternatives):
            remedy = did_you_mean(alternatives[0], columns) or f"its columns are {', '.join(columns) or 'none'}"
            faults.append(Fault(key=name, rule=f"has no column {' or '.join(alternatives)}", remedy=remedy))
    if faults:
        raise DataError(faults)


def unread_of(columns: Mapping[str, Iterable[str]], kind: Kind) -> tuple[str, ...]:
    """Of columns and the keys of the messages in them, those that nothing reads."""
    read = read_columns(kind)
    keys = [
        f"{column}[].{key}"
        for column, found in columns.items()
        if column in _MESSAGES[kind]
        for key in found
        if key not in _KEYS
    ]
    # JSON can spell half of a surrogate pair, which no terminal shows.
    return tuple(_shown(name) for name in (*(column for column in columns if column not in read), *keys))


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def checked_row(row: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The columns of a row that is fit to train on, but for its origin.

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
