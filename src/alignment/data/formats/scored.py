"""Several answers to one prompt with a score or a rank each, of which pairs are selected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignment.data.formats.dialogues import answer_of
from alignment.data.formats.fields import as_list, is_messages, is_text, number_of, stated, the_one
from alignment.data.formats.instructions import QUESTIONS, asks, question_of
from alignment.data.formats.row_format import Format, Row, Scored
from alignment.data.formats.transcripts import is_question, turns_of
from alignment.data.messages import Message, RowFault, kind_of, read_messages
from alignment.data.row_fault import shown

_PROMPTS = ("prompt", "context")
ASKED = (*dict.fromkeys((*_PROMPTS, *QUESTIONS)), "input", "history")
"""Columns that `prompt_of` reads."""

MADE = ("pairs", "transcript_pairs", "instruction_pairs")
"""Formats of pairs that were made already."""

_LISTS = ("responses", "all_generated_responses", "generations", "completions", "answers", "candidates")
_SCORES = ("scores", "all_rm_scores", "rewards", "ratings", "rating", "ranks")
_TEXTS = ("completion", "response", "answer", "text", "content")
_WORTH = ("rank", "score", "overall_score", "reward", "rating")
_RANKS = ("rank", "ranks")
"""Of ranks the least is the best."""


def prompt_of(row: Row) -> list[Message]:
    """The turns before the answers: messages, a transcript, or a question as text."""
    named = stated(row, _PROMPTS)
    if len(named) > 1 or not named:
        return question_of(row)
    value = row[named[0]]
    if is_question(value):
        return turns_of(value, named[0])[:-1]
    if is_text(value):
        return question_of({**row, "prompt": value})
    return read_messages(value, named[0])


def is_asked(row: Row) -> bool:
    """Whether a row has turns before the answers, in a form that `prompt_of` reads."""
    named = stated(row, _PROMPTS)
    return asks(row) or (len(named) == 1 and (is_text(row[named[0]]) or is_messages(row[named[0]])))


def _worth(value: object, name: str, column: str) -> float:
    return -number_of(value, name) if column in _RANKS else number_of(value, name)


def _text(value: object, name: str) -> str:
    """The text of an answer, which may be a message."""
    messages = answer_of(value, name)
    if len(messages) != 1 or set(messages[0]) != {"role", "content"} or messages[0]["role"] != "assistant":
        raise RowFault("not an answer", f"{name} is not one text of the assistant: {shown(value)}")
    return str(messages[0]["content"])


def _scored(row: Row) -> Scored:
    answers, scores = the_one(row, _LISTS, "list of answers"), the_one(row, _SCORES, "list of scores")
    texts, numbers = _listed(row, answers), _listed(row, scores)
    if len(texts) != len(numbers):
        found = f"{answers} has {len(texts)}, {scores} {len(numbers)}"
        raise RowFault("as many scores as answers are needed", found)
    return Scored(
        prompt=prompt_of(row),
        responses=[_text(answer, f"{answers}[{at}]") for at, answer in enumerate(texts)],
        scores=[_worth(score, f"{scores}[{at}]", scores) for at, score in enumerate(numbers)],
    )


def _listed(row: Row, column: str) -> list[Any]:
    value = as_list(row[column])
    if not isinstance(value, list):
        raise RowFault("not a list", f"{column} is {kind_of(value)}, {shown(value)}")
    return value


def _is_scored(row: Row) -> bool:
    lists = [*stated(row, _LISTS), *stated(row, _SCORES)]
    both = bool(stated(row, _LISTS)) and bool(stated(row, _SCORES))
    return both and is_asked(row) and all(isinstance(as_list(row[column]), list) for column in lists)


def _rated(row: Row) -> Scored:
    column = the_one(row, _LISTS, "list of answers")
    found = [_entry(answer, f"{column}[{at}]") for at, answer in enumerate(_listed(row, column))]
    return Scored(prompt=prompt_of(row), responses=[text for text, _ in found], scores=[worth for _, worth in found])


def _entry(answer: Any, name: str) -> tuple[str, float]:
    if not isinstance(answer, Mapping):
        raise RowFault("not a rated answer", f"{name} is {kind_of(answer)}, {shown(answer)}")
    text, worth = (the_one(answer, columns, what) for columns, what in ((_TEXTS, "answer"), (_WORTH, "rank or score")))
    return _text(answer[text], f"{name}.{text}"), _worth(answer[worth], f"{name}.{worth}", worth)


def _is_rated(row: Row) -> bool:
    lists = stated(row, _LISTS)
    answers = as_list(row[lists[0]]) if len(lists) == 1 else None
    return is_asked(row) and isinstance(answers, list) and all(map(_is_entry, answers))


def _is_entry(answer: object) -> bool:
    return isinstance(answer, Mapping) and bool(stated(answer, _TEXTS)) and bool(stated(answer, _WORTH))


SCORED_ANSWERS = Format(
    name="scored_answers",
    gives="preference",
    yields_to=MADE,
    shape="prompt, a list of responses, and a list of scores",
    columns=(*ASKED, *_LISTS, *_SCORES),
    needs=(ASKED, _LISTS, _SCORES),
    recognizes=_is_scored,
    convert=_scored,
)
RATED_ANSWERS = Format(
    name="rated_answers",
    gives="preference",
    yields_to=MADE,
    shape="prompt or context, and a list of completions, each an object with a rank or a score",
    columns=(*ASKED, *_LISTS),
    needs=(ASKED, _LISTS),
    recognizes=_is_rated,
    convert=_rated,
)
