"""The prompts of evaluation data, whatever their rows look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.files import find_local
from alignment.data.form import place_of
from alignment.data.messages import RowFault, from_text, kind_of
from alignment.data.slices import slice_of
from alignment.data.sources import Request, find_source
from alignment.errors import DataError, Fault, did_you_mean
from alignment.files import shown_path

if TYPE_CHECKING:
    from alignment.recipe.cleaning import EvaluationPrompts

COLUMNS = ("prompt", "instruction", "question", "messages", "conversations", "conversation", "turns", "chosen")
"""Where evaluation data keep their prompts, in the order in which they are looked for."""
_USERS = ("user", "human", "prompter")


class Prompts(NamedTuple):
    """The evaluation prompts of one source."""

    name: str
    """What messages call them: `test of eval.jsonl`."""
    texts: list[str]
    commit: str | None


def prompt_of(row: Mapping[str, Any], column: str | None = None) -> str:
    """What the user says in a row of evaluation data, its turns on lines of their own.

    A column holds a text, a message, or a list of either; of messages with roles the user's count. The `input` of an
    Alpaca row belongs to its `instruction`.

    Args:
        column: that of the prompt; the first of `COLUMNS` that is there when absent.

    Raises:
        RowFault: there is none, or it says nothing.
    """
    column = column or next((name for name in COLUMNS if row.get(name) is not None), None)
    if column is None or column not in row:
        raise RowFault("no prompt", f"its columns are {', '.join(row) or 'none'}")
    turns = [turn for turn in _turns(from_text(row[column], column), column) if turn.strip()]
    if not turns:
        raise RowFault("empty prompt", f"{column} has no words of a user")
    beside = row.get("input") if column == "instruction" else None
    return "\n".join([*turns, beside] if isinstance(beside, str) and beside.strip() else turns)


def _turns(value: Any, column: str) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        role = value.get("role", value.get("from", "user"))
        said = value.get("content", value.get("value"))
        if role in _USERS and isinstance(said, str):
            yield said
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _turns(item, column)
    else:
        raise RowFault("no prompt", f"{column} is {kind_of(value)}")


def read_prompts(source: EvaluationPrompts) -> Prompts:
    """All prompts of a source of evaluation data.

    Raises:
        DataError: it cannot be had or read, has no rows, or a row has no prompt.
    """
    path = find_local(source.id)
    one_file = path is not None and path.is_file()
    split = source.split or ("train" if one_file else "test")
    shown = shown_path(source.id)
    name = shown if one_file else f"{split} of {shown}"
    found = find_source(Request(source.id, source.config, split, source.revision))
    texts = list(_texts(found.rows, source.column, name))
    if not texts:
        raise DataError(Fault(key=name, rule="has no rows", remedy="name evaluation prompts that there are"))
    taken = slice_of(split, len(texts))
    return Prompts(name, texts[taken.start : taken.stop], found.commit)


def _texts(rows: Any, column: str | None, name: str) -> Iterator[str]:
    for index, row in enumerate(rows):
        row, place = row if isinstance(row, tuple) else (row, None)
        key = place_of({"source": name, "row": index, "place": place})
        try:
            if isinstance(row, RowFault):
                raise row
            yield prompt_of(row, column)
        except RowFault as fault:
            near = did_you_mean(column, row) if column and isinstance(row, Mapping) else ""
            remedy = near or "name the column of the prompts as `column`, or mend the row"
            raise DataError(Fault(key=key, rule=f"has no prompt to compare with: {fault}", remedy=remedy)) from fault
