"""Two answers to one prompt, and which of them is better."""

from __future__ import annotations

from collections.abc import Callable

from alignment.data.formats.fields import as_list, is_text, number_of, stated, text_of, the_one
from alignment.data.formats.instructions import QUESTIONS, asks, question_of
from alignment.data.formats.row_format import Format, Row
from alignment.data.formats.scored import ASKED, MADE, is_asked, prompt_of
from alignment.data.messages import RowFault
from alignment.data.row_fault import shown
from alignment.data.row_findings import NO_PAIR

_TWO = (
    *(("response_0", "response_1"), ("response_1", "response_2"), ("response1", "response2")),
    *(("response_a", "response_b"), ("answer_0", "answer_1"), ("answer_a", "answer_b")),
    *(("output_1", "output_2"), ("completion_a", "completion_b"), ("human_ref_A", "human_ref_B")),
)
"""Columns of two answers, the first and the second."""


def _by_sign(value: object, name: str) -> int | None:
    strength = number_of(value, name)
    return None if strength == 0 else int(strength > 0)


def _by_number(first: int) -> Callable[[object, str], int | None]:
    def better(value: object, name: str) -> int | None:
        if number_of(value, name) not in (first, first + 1):
            raise RowFault("not a preference", f"{name} is {shown(value)}, not {first} or {first + 1}")
        return int(number_of(value, name) != first)

    return better


def _by_flag(value: object, name: str) -> int | None:
    if value not in (0, 1):
        raise RowFault("not a preference", f"{name} is {shown(value)}, not 1 for the first or 0 for the second")
    return int(value == 0)


def _by_name(value: object, name: str) -> int | None:
    word = text_of({name: value}, name).strip().lower()
    if word.startswith(("tie", "both")):
        return None
    for at, words in enumerate((("a", "model_a", "response_a", "1"), ("b", "model_b", "response_b", "2"))):
        if word in words:
            return at
    raise RowFault("not a preference", f"{name} is {shown(value)}, not model_a, model_b or tie")


_VERDICTS: dict[str, Callable[[object, str], int | None]] = {
    "overall_preference": _by_sign,
    "preference_strength": _by_sign,
    "better_response_id": _by_number(0),
    "preference": _by_number(1),
    "labels": _by_flag,
    "winner": _by_name,
}
"""Column -> which of two answers it prefers (0 or 1), or neither. A strength below 0 speaks for the first."""


def _two(row: Row) -> tuple[str, str] | None:
    return next((pair for pair in _TWO if all(is_text(row.get(column)) for column in pair)), None)


def _is_compared(row: Row) -> bool:
    return _two(row) is not None and bool(stated(row, tuple(_VERDICTS))) and is_asked(row)


def _compared(row: Row) -> Row:
    columns = _two(row)
    if columns is None:
        raise RowFault("missing answers", f"none of {', '.join('/'.join(pair) for pair in _TWO)} are two texts")
    verdict = the_one(row, tuple(_VERDICTS), "preference")
    better = _VERDICTS[verdict](row[verdict], verdict)
    if better is None:
        raise RowFault(f"{NO_PAIR}: neither answer is preferred")
    return {"prompt": prompt_of(row), "chosen": row[columns[better]], "rejected": row[columns[1 - better]]}


def _is_ranked_output(row: Row) -> bool:
    output = as_list(row.get("output"))
    return asks(row) and isinstance(output, list) and len(output) == 2 and all(map(is_text, output))


def _ranked_output(row: Row) -> Row:
    output = as_list(row.get("output"))
    if not isinstance(output, list) or len(output) != 2:
        raise RowFault("not two answers", f"output is {shown(output)}, not [better, worse]")
    better, worse = (text_of({f"output[{at}]": text}, f"output[{at}]") for at, text in enumerate(output))
    return {"prompt": question_of(row), "chosen": better, "rejected": worse}


RANKED_OUTPUT = Format(
    name="ranked_output",
    gives="preference",
    shape="instruction (and input) with output: [better, worse]",
    columns=(*QUESTIONS, "input", "history", "output"),
    needs=((*QUESTIONS, "input"), ("output",)),
    recognizes=_is_ranked_output,
    convert=_ranked_output,
)
COMPARED_ANSWERS = Format(
    name="compared_answers",
    gives="preference",
    yields_to=MADE,
    shape="prompt or context, two responses, and which of them is preferred",
    needs=(ASKED, tuple(one for one, _ in _TWO), tuple(other for _, other in _TWO), tuple(_VERDICTS)),
    columns=(*ASKED, *dict.fromkeys(column for pair in _TWO for column in pair), *_VERDICTS),
    recognizes=_is_compared,
    convert=_compared,
)
