"""Shapes of rows that hold no preference between two answers, with what to do about each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alignment.data.formats.fields import stated
from alignment.data.formats.row_format import Row
from alignment.errors import Fault

LABELS = ("label", "kto_tag")
"""Columns that say whether the one answer of a row is wanted."""

_ANSWERS = ("completion", "response", "output", "answer", "messages", "conversations")
_GRADES = ("score", "rating", "reward", "helpfulness", "overall_score")


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A shape that is known and not read."""

    recognizes: Callable[[Row], bool]
    rule: str
    remedy: str


def is_label(value: object) -> bool:
    """Whether a value says yes or no."""
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false"))


def _is_unpaired(row: Row) -> bool:
    return bool(stated(row, _ANSWERS)) and any(is_label(row.get(column)) for column in LABELS)


def _is_stepwise(row: Row) -> bool:
    return all(isinstance(row.get(column), list) for column in ("completions", "labels"))


def _is_graded(row: Row) -> bool:
    return bool(stated(row, _ANSWERS)) and any(
        isinstance(row.get(column), int | float) and not isinstance(row.get(column), bool) for column in _GRADES
    )


def _is_tokens(row: Row) -> bool:
    return any(isinstance(row.get(column), list) for column in ("input_ids", "prompt_input_ids", "chosen_input_ids"))


def _is_question(row: Row) -> bool:
    return row.get("prompt") is not None and not stated(row, (*_ANSWERS, "chosen", "rejected"))


REFUSED: tuple[Refused, ...] = (
    Refused(
        recognizes=_is_unpaired,
        rule="has unpaired rows, one answer with a label each (KTO), and no preference between two answers",
        remedy="give each prompt one wanted answer as chosen and one unwanted as rejected, or train on the wanted "
        "answers alone: keep those rows, leave the label out with column_map: {label: null}, and use method: sft",
    ),
    Refused(
        recognizes=_is_stepwise,
        rule="has the steps of one answer with a label each, and no preference between two answers",
        remedy="give a chosen and a rejected answer to each prompt",
    ),
    Refused(
        recognizes=_is_graded,
        rule="has one graded answer a row, and a pair needs two answers to one prompt",
        remedy="gather the answers to each prompt in one row: prompt, responses, scores",
    ),
    Refused(
        recognizes=_is_tokens,
        rule="has token ids, which belong to one tokenizer and template",
        remedy="give the text that they were made of",
    ),
    Refused(
        recognizes=_is_question,
        rule="has prompts without answers",
        remedy="make pairs answers and scores them (README, Commands), or give chosen and rejected",
    ),
)


def refusal_of(sample: Sequence[Row], name: str) -> Fault | None:
    """What is wrong with rows that are all of a shape that is not read.

    Args:
        name: what messages call the data.
    """
    for each in REFUSED:
        if sample and all(isinstance(row, Mapping) and each.recognizes(row) for row in sample):
            return Fault(key=name, rule=each.rule, remedy=each.remedy)
    return None
