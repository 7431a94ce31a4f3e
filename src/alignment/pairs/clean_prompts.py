"""Prompts that are left out for what they say: near duplicates, those that overlap evaluation prompts, languages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alignment.data.duplicates import near_duplicates
from alignment.data.languages import language_of
from alignment.data.overlap import find_overlaps
from alignment.data.prompts import Prompts as EvaluationPrompts
from alignment.data.prompts import read_prompts
from alignment.data.row_findings import SHOWN
from alignment.errors import DataError, Fault
from alignment.recipe.cleaning import Decontamination

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What prompts must not overlap."""

    asked: Decontamination
    sources: tuple[EvaluationPrompts, ...]

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return [text for source in self.sources for text in source.texts]

    def name_of(self, number: int) -> str:
        """What messages call one of `texts`."""
        for source in self.sources:
            if number < len(source.texts):
                return f"row {number} of {source.name}"
            number -= len(source.texts)
        raise IndexError(number)


def read_evaluation(asked: Decontamination | None) -> Evaluation | None:
    """The evaluation prompts that a recipe names.

    Raises:
        DataError: they cannot be found or read.
    """
    if asked is None:
        return None
    return Evaluation(asked=asked, sources=tuple(read_prompts(source) for source in asked.sources))


class Said(Sequence[str]):
    """What the users of prompts say, read from their lines as it is needed."""

    def __init__(self, table: pa.Table) -> None:
        self._lines = table["line"]

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, row: Any) -> Any:
        messages = json.loads(self._lines[row].as_py())["messages"]
        return "\n".join(message["content"] for message in messages if message["role"] == "user")

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))


def of_languages(table: pa.Table, wanted: Sequence[str] | None) -> pa.Table:
    """The prompts in these languages."""
    if wanted is None:
        return table
    return table.take([row for row, said in enumerate(Said(table)) if language_of(said) in wanted])


def without_near_duplicates(table: pa.Table, similarity: float | None) -> pa.Table:
    """The prompts to which no earlier one is so similar."""
    if similarity is None:
        return table
    gone = {duplicate.row for duplicate in near_duplicates(Said(table), similarity=similarity)}
    return table.take([row for row in range(len(table)) if row not in gone])


def decontaminated(table: pa.Table, evaluation: Evaluation | None) -> tuple[pa.Table, dict[str, Any]]:
    """The prompts, without those that overlap an evaluation prompt where that is asked for, and what was found.

    Raises:
        DataError: some do, and that is an error.
    """
    if evaluation is None:
        return table, {}
    said = Said(table)
    found = find_overlaps(said, evaluation.texts, ngram=evaluation.asked.ngram)
    examples = [
        {"prompt": said[each.row][:200], "against": evaluation.name_of(each.against), "shared": each.text}
        for each in found[:SHOWN]
    ]
    if found and evaluation.asked.action == "error":
        raise DataError([*map(_fault, examples), _refused(len(found), len(table))])
    if evaluation.asked.action == "drop":
        gone = {each.row for each in found}
        table = table.take([row for row in range(len(table)) if row not in gone])
    return table, {"count": len(found), "action": evaluation.asked.action, "examples": examples}


def _fault(example: dict[str, Any]) -> Fault:
    return Fault(
        key=f'prompt "{example["prompt"][:60]}"', rule=f'shares "{example["shared"]}" with {example["against"]}'
    )


def _refused(count: int, total: int) -> Fault:
    rule = f"{count} of {total} prompts overlap evaluation prompts"
    return Fault(key="prompts.decontaminate", rule=rule, remedy="leave them out with action: drop")
