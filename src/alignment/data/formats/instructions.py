"""An instruction in a column of its own: Alpaca, the Orca pairs, and the many data sets that are named like them."""

from __future__ import annotations

from alignment.data.formats.fields import history_of, is_text, stated, text_of, the_one
from alignment.data.formats.row_format import Format, Row
from alignment.data.formats.transcripts import IS_TRANSCRIPT, is_question
from alignment.data.messages import Message, RowFault

QUESTIONS = ("instruction", "question", "query", "prompt")
"""Columns that hold what is asked; `input` does too where none of them is there."""

_OWN = ("instruction", "question", "query", "input", "history")
"""Columns that no canonical row has."""

_ANSWERS = ("output", "response", "answer", "completion")
_SIDES = (("chosen", "rejected"), ("chosen_response", "rejected_response"), ("response_j", "response_k"))
"""Columns of the better and the worse answer."""


def question_of(row: Row) -> list[Message]:
    """The turns before the answer: those of `history`, and what is asked.

    An instruction with an input is the two with a newline between them.

    Raises:
        RowFault: nothing is asked, or two columns ask different things.
    """
    if not stated(row, (*QUESTIONS, "input")):
        raise RowFault("missing prompt", f"none of {', '.join(QUESTIONS)} and input says anything")
    if not stated(row, QUESTIONS):
        asked = text_of(row, "input")
    else:
        asked = text_of(row, the_one(row, QUESTIONS, "question"))
        more = row.get("input")
        if more is not None and text_of(row, "input") and more != asked:
            asked = f"{asked}\n{more}" if asked else more
    if is_question(asked):
        raise RowFault(IS_TRANSCRIPT, "dataset_format: transcript_pairs or transcripts makes turns of it")
    if not asked.strip():
        raise RowFault("missing prompt", "nothing is asked")
    return [*history_of(row), {"role": "user", "content": asked}]


def asks(row: Row) -> bool:
    """Whether there is a question as text."""
    named = stated(row, (*QUESTIONS, "input"))
    return bool(named) and all(is_text(row[column]) and not is_question(row[column]) for column in named)


def _sides(row: Row) -> tuple[str, str] | None:
    found = (pair for pair in _SIDES if all(is_text(row.get(column)) for column in pair))
    return next(found, None)


def _is_pair(row: Row) -> bool:
    sides = _sides(row)
    return asks(row) and sides is not None and (sides != _SIDES[0] or bool(stated(row, _OWN)))


def _pair(row: Row) -> Row:
    better, worse = _sides(row) or next((pair for pair in _SIDES if set(pair) & set(row)), _SIDES[0])
    return {"prompt": question_of(row), "chosen": text_of(row, better), "rejected": text_of(row, worse)}


def _is_answered(row: Row) -> bool:
    answers = [column for column in _ANSWERS if is_text(row.get(column))]
    return asks(row) and bool(answers) and (answers != ["completion"] or bool(stated(row, _OWN)))


def _conversation(row: Row) -> Row:
    answer = text_of(row, the_one(row, _ANSWERS, "answer"))
    return {"messages": [*question_of(row), {"role": "assistant", "content": answer}]}


INSTRUCTION_PAIRS = Format(
    name="instruction_pairs",
    gives="preference",
    shape="instruction (and input), question or query, with a chosen and a rejected answer as text",
    columns=(*QUESTIONS, "input", "history", *(column for pair in _SIDES for column in pair)),
    needs=((*QUESTIONS, "input"), tuple(better for better, _ in _SIDES), tuple(worse for _, worse in _SIDES)),
    recognizes=_is_pair,
    convert=_pair,
)
ALPACA = Format(
    name="alpaca",
    gives="conversation",
    shape="instruction (and input), question or query, with output, response or answer as text",
    columns=(*QUESTIONS, "input", "history", *_ANSWERS),
    needs=((*QUESTIONS, "input"), _ANSWERS),
    recognizes=_is_answered,
    convert=_conversation,
)
