"""Training rows compared with evaluation prompts and with each other, as the recipe asks for: told, dropped or refused.

What is found is kept on disk, so that one process looks for it and all use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.cache import place_in
from alignment.data.disk_cache import keep
from alignment.data.duplicates import Duplicate, exact_duplicates, near_duplicates
from alignment.data.fingerprint import digest_of
from alignment.data.overlap import Overlap, find_overlaps
from alignment.data.prompts import Prompts, read_prompts
from alignment.data.row_findings import SHOWN
from alignment.data.row_texts import RowPrompts, RowTexts
from alignment.errors import DataError, Fault

if TYPE_CHECKING:
    from datasets import Dataset

    from alignment.recipe.cleaning import Action, Decontamination, Deduplication
    from alignment.recipe.schema import DataArguments

ALGORITHM = 1
"""Raised whenever other rows are found, so that what older versions found is not used."""

EXACT = "exact duplicate"
NEAR = "near duplicate"
OVERLAP = "overlap with an evaluation prompt"
"""Reasons for which rows are found."""

EXAMPLES = 10
_DONE = {"drop": "left out", "report": "kept (action: report)", "error": "refused (action: error)"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The training rows that were found for one reason."""

    reason: str
    action: Action
    looked_for: Mapping[str, Any]
    """What of the recipe decided, and with what the rows were compared."""
    rows: Sequence[int]
    """Their numbers."""
    examples: Sequence[Mapping[str, Any]]
    """`row` and `of` or `against`, as messages call them; what they share; and how many `rows` share the same text."""

    def told(self) -> str:
        """One line of a log."""
        first = f", {_DONE[self.action]}; {_told(self.examples[0])}" if self.examples else ""
        return f"{len(self.rows):,} x {self.reason}{first}"

    def as_facts(self) -> dict[str, Any]:
        """For a manifest: the number of rows in place of the rows."""
        return {**asdict(self), "rows": len(self.rows)}


def clean(
    train: Dataset, test: Dataset | None, data: DataArguments, *, cache: Path, key: object
) -> tuple[Finding, ...]:
    """What the recipe's `deduplicate` and `decontaminate` find among the training rows.

    Args:
        train, test: checked rows.
        data: the recipe's data section.
        cache: folder where findings are kept.
        key: a JSON-like value that decides the rows of both.

    Raises:
        DataError: evaluation prompts that cannot be read, rows found where the action is `error`, or none left.
    """
    findings: list[Finding] = []
    if data.deduplicate is not None:
        findings.extend(_duplicates(train, data.deduplicate, _Kept(cache, key)))
    if data.decontaminate is not None:
        findings.append(_contamination(train, test, data.decontaminate, _Kept(cache, key)))
    refused = [fault for found in findings if found.action == "error" for fault in _faults(found, len(train))]
    if refused:
        raise DataError(refused)
    if not kept_rows(len(train), findings):
        told = "; ".join(found.told() for found in findings if found.rows)
        raise DataError(Fault(key="the training rows", rule=f"are all left out: {told}", remedy="set action: report"))
    return tuple(findings)


def kept_rows(count: int, findings: Sequence[Finding]) -> list[int]:
    """The rows that no finding drops."""
    gone = {row for rows in dropped_rows(findings).values() for row in rows}
    return [row for row in range(count) if row not in gone]


def dropped_rows(findings: Sequence[Finding]) -> dict[str, list[int]]:
    """Reason -> the rows that are dropped for it; a row counts once, for the first reason."""
    gone: set[int] = set()
    dropped = {}
    for found in findings:
        if found.action == "drop" and (rows := [row for row in found.rows if row not in gone]):
            dropped[found.reason] = rows
            gone.update(rows)
    return dropped


class _Kept:
    """Facts that are found once and kept on disk."""

    def __init__(self, cache: Path, key: object) -> None:
        self._cache, self._key = cache / "findings", key

    def __call__(self, find: Callable[[], dict[str, Any]], *looked_for: object) -> dict[str, Any]:
        return keep(self._cache / digest_of([ALGORITHM, self._key, looked_for]), lambda _: find()).facts


def _duplicates(train: Dataset, asked: Deduplication, kept: _Kept) -> Iterator[Finding]:
    texts = RowTexts(train)
    same: list[list[Any]] = []
    if asked.exact:
        same = kept(lambda: {"found": exact_duplicates(texts.whole())}, EXACT)["found"]
        yield _repeated(train, EXACT, asked.action, {}, same)
    if asked.near is not None:
        least = asked.near
        found = kept(lambda: {"found": near_duplicates(texts, similarity=least)}, NEAR, least)["found"]
        told = {row for row, *_ in same}
        yield _repeated(
            train, NEAR, asked.action, {"similarity": least}, [each for each in found if each[0] not in told]
        )


def _repeated(
    train: Dataset, reason: str, action: Action, looked_for: Mapping[str, Any], found: Sequence[Sequence[Any]]
) -> Finding:
    examples = [
        {"row": place_in(train, each.row), "of": place_in(train, each.of), "similarity": round(each.similarity, 4)}
        for each in (Duplicate(*stored) for stored in found[:EXAMPLES])
    ]
    rows = [row for row, *_ in found]
    return Finding(reason=reason, action=action, looked_for=looked_for, rows=rows, examples=examples)


def _contamination(train: Dataset, test: Dataset | None, asked: Decontamination, kept: _Kept) -> Finding:
    sources = [read_prompts(source) for source in asked.sources]
    if asked.test_split and test is not None:
        sources.append(Prompts("the test split", list(RowPrompts(test)), None))
    texts = [text for source in sources for text in source.texts]
    facts = kept(
        lambda: _overlaps(find_overlaps(RowPrompts(train), texts, ngram=asked.ngram)), asked.ngram, digest_of(texts)
    )
    against = [{"name": source.name, "revision": source.commit, "prompts": len(source.texts)} for source in sources]
    examples = [
        {"row": place_in(train, row), "against": _against(number, sources), "text": text, "rows": rows}
        for row, number, text, rows in facts["examples"]
    ]
    looked_for = {"ngram": asked.ngram, "against": against}
    return Finding(reason=OVERLAP, action=asked.action, looked_for=looked_for, rows=facts["rows"], examples=examples)


def _overlaps(found: Sequence[Overlap]) -> dict[str, Any]:
    """The rows; and of those that share the same text one, the most frequent text first."""
    by_text: dict[str, list[Overlap]] = {}
    for each in found:
        by_text.setdefault(each.text, []).append(each)
    most = sorted(by_text.values(), key=lambda group: (-len(group), group[0].row))[:EXAMPLES]
    return {"rows": [each.row for each in found], "examples": [[*group[0], len(group)] for group in most]}


def _against(number: int, sources: Sequence[Prompts]) -> str:
    """What messages call an evaluation prompt, by its number among those of all sources."""
    for source in sources:
        if number < len(source.texts):
            break
        number -= len(source.texts)
    return f"row {number} of {source.name}"


def _faults(found: Finding, rows: int) -> Iterator[Fault]:
    for example in found.examples[:SHOWN]:
        place, told = str(example["row"]), _told(example)
        yield Fault(key=place, rule=told.removeprefix(f"{place} "))
    if found.rows:
        rule = f"hold {len(found.rows)} rows out of {rows} that are refused: {found.reason}"
        yield Fault(key="the training rows", rule=rule, remedy="mend them, or leave them out with action: drop")


def _told(example: Mapping[str, Any]) -> str:
    if "against" in example:
        return f'{example["row"]} shares "{example["text"]}" with {example["against"]}'
    alike = "" if example["similarity"] == 1 else f", {example['similarity']:.2f} alike"
    return f"{example['row']} repeats {example['of']}{alike}"
