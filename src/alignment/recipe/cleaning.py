"""What the recipe keys `decontaminate:` and `deduplicate:` state. No heavy imports: the recipe check reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alignment.errors import Fault

Action = Literal["report", "drop", "error"]
"""Of the rows that are found: tell them, leave them out of the training rows, or stop."""


@dataclass(frozen=True, kw_only=True)
class EvaluationPrompts:
    """Where evaluation prompts come from."""

    id: str
    """Hub id, or a local JSON/JSONL/CSV/Parquet file or folder."""
    config: str | None = None
    """Configuration (subset) of the data set."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    split: str | None = None
    """Split to take; `test` when absent, and of a single file all of it."""
    column: str | None = None
    """Column that holds the prompts, as text or messages; the usual ones are found."""


@dataclass(frozen=True, kw_only=True)
class Decontamination:
    """Training prompts compared with evaluation prompts; `alignment.data.overlap` says when two overlap."""

    against: tuple[EvaluationPrompts | str, ...] = ()
    """Evaluation prompts; a text is the `id` of some."""
    test_split: bool = True
    """Compare with the recipe's own test split too, where it has one."""
    ngram: int = 13
    """Words in a row that two prompts must share."""
    action: Action = "report"

    @property
    def sources(self) -> tuple[EvaluationPrompts, ...]:
        """`against`, each in full."""
        return tuple(EvaluationPrompts(id=item) if isinstance(item, str) else item for item in self.against)


@dataclass(frozen=True, kw_only=True)
class Deduplication:
    """Training rows compared with each other, as whole rows: prompt and answers."""

    exact: bool = True
    """Rows that say the same, character for character."""
    near: float | None = None
    """Rows of at least such similarity (`alignment.data.duplicates`), from 0.5 to 1; not looked for when absent."""
    action: Action = "report"


def decontamination(values: Mapping[str, Any], found: Mapping[str, str]) -> Decontamination:
    """From checked values, and the places that were looked up for them (dotted key -> path)."""
    against: list[EvaluationPrompts | str] = []
    for at, item in enumerate(values.get("against", ())):
        key = f"decontaminate.against[{at}]"
        if isinstance(item, str):
            against.append(found.get(key, item))
        else:
            against.append(EvaluationPrompts(**{**item, "id": found.get(f"{key}.id", item["id"])}))
    return Decontamination(**{**values, "against": tuple(against)})


def against_ids(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Dotted key and id of all evaluation prompts that a checked `decontaminate:` names."""
    for at, item in enumerate(values.get("against", ())):
        key = f"decontaminate.against[{at}]"
        yield (key, item) if isinstance(item, str) else (f"{key}.id", item["id"])


def cleaning_faults(
    decontaminate: Mapping[str, Any] | None, deduplicate: Mapping[str, Any] | None, *, has_test: bool
) -> Iterator[Fault]:
    """Sections that would do nothing."""
    if decontaminate is not None and not decontaminate.get("against"):
        own = decontaminate.get("test_split", True)
        if not (own and has_test):
            yield Fault(
                key="decontaminate.against",
                rule="names no evaluation prompts, and there is no test split to compare with",
                remedy="list files or Hub ids, or state a test split and eval_strategy",
            )
    if deduplicate is not None and not deduplicate.get("exact", True) and deduplicate.get("near") is None:
        yield Fault(key="deduplicate", rule="looks for nothing", remedy="set exact: true, or near: 0.9")
