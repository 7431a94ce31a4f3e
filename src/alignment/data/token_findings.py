"""What the check over the final tokens found in a data set: which rows are trained on, which are not, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from alignment.data.row_findings import SHOWN, OnBadRow
from alignment.data.token_check import FULL
from alignment.errors import DataError, Fault

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Counts by reason, and the rows behind them."""

    rows: int
    """Rows that were tokenized."""
    bad: Mapping[str, Mapping[int, str]]
    """Reason -> row -> detail, for the rows that are not trained on."""
    noted: Mapping[str, int]
    """Reason -> rows that are trained on all the same."""
    examples: Mapping[str, tuple[int, str]]
    """Reason of a note -> the first row, and what was found there."""

    @classmethod
    def of(cls, tokenized: Dataset) -> Findings:
        """From the columns `reason`, `detail` and `notes`."""
        import pyarrow.compute as pc

        bad: dict[str, dict[int, str]] = {}
        noted: dict[str, int] = {}
        examples: dict[str, tuple[int, str]] = {}
        table = tokenized.select_columns(["reason", "detail", "notes"]).with_format("arrow")[:]
        for row, found in _said(table, pc.is_valid(table["reason"])):
            bad.setdefault(found["reason"], {})[row] = found["detail"]
        for row, found in _said(table, pc.greater(pc.list_value_length(table["notes"]), 0)):
            for note in found["notes"]:
                kind, _, said = note.partition(": ")
                noted[kind] = noted.get(kind, 0) + 1
                examples.setdefault(kind, (row, said))
        return cls(rows=len(tokenized), bad=bad, noted=noted, examples=examples)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Findings:
        """What `as_dict` made, after JSON has turned numbers of rows into text."""
        bad = {reason: {int(row): said for row, said in rows.items()} for reason, rows in stored["bad"].items()}
        examples = {reason: (row, said) for reason, (row, said) in stored["examples"].items()}
        return cls(rows=stored["rows"], bad=bad, noted=stored["noted"], examples=examples)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def good(self) -> list[int]:
        """The rows that are trained on."""
        bad = {row for rows in self.bad.values() for row in rows}
        return [row for row in range(self.rows) if row not in bad]

    @property
    def dropped(self) -> dict[str, int]:
        """Reason -> rows that are not trained on."""
        return {reason: len(rows) for reason, rows in self.bad.items()}

    def require(self, on_bad_row: OnBadRow, place: Callable[[int], str]) -> None:
        """Refuse bad rows, unless they are to be dropped, and data of which nothing is left.

        Rows whose prompt leaves no room for an answer are no bad rows: `max_length` rules them out.

        Args:
            place: what messages call a row.

        Raises:
            DataError: naming the first rows and counting all.
        """
        faults = {row: (why, said) for why, rows in self.bad.items() for row, said in rows.items() if why != FULL}
        summary = ", ".join(f"{count} x {reason}" for reason, count in self.dropped.items())
        if faults and on_bad_row == "error":
            listed = [
                Fault(key=place(row), rule=f"is bad: {reason}: {said}")
                for row, (reason, said) in sorted(faults.items())
            ]
            rule = f"has {len(faults)} rows that cannot be trained on, out of {self.rows} ({summary})"
            remedy = "mend them" + (", or leave them out with on_bad_row: drop" if len(faults) < self.rows else "")
            raise DataError([*listed[:SHOWN], Fault(key="the data", rule=rule, remedy=remedy)])
        if self.dropped and sum(self.dropped.values()) == self.rows:
            reason, rows = next(iter(self.bad.items()))
            row, said = next(iter(rows.items()))
            first = Fault(key=place(row), rule=f"is left out: {reason}: {said}")
            remedy = "raise max_length, or shorten the prompts" if FULL in self.bad else "mend them"
            rule = f"has no row that can be trained on among {self.rows} ({summary})"
            raise DataError([first, Fault(key="the data", rule=rule, remedy=remedy)])

    def lines(self, place: Callable[[int], str]) -> Iterator[str]:
        """What the terminal says of rows that are left out, or trained with a caveat."""
        for reason, rows in self.bad.items():
            row, said = next(iter(rows.items()))
            yield f"left out: {len(rows):,} x {reason} ({place(row)}: {said})"
        for reason, count in self.noted.items():
            row, said = self.examples[reason]
            yield f"warning: {count:,} x {reason} ({place(row)}: {said})"


def _said(table: Any, wanted: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of the rows of an Arrow table that a mask wants."""
    import pyarrow.compute as pc

    return zip(pc.indices_nonzero(wanted).to_pylist(), table.filter(wanted).to_pylist(), strict=True)
