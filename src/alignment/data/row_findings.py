"""What a check found in a data set: how many rows, the faults of those that are bad, and what nothing reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from alignment.data.messages import RowFault
from alignment.errors import DataError, Fault

OnBadRow = Literal["error", "drop"]

NO_PAIR = "no pair"
"""How the reasons begin for which answers to one prompt give no pair: the rule left them out, and nothing is bad."""

SHOWN = 5
"""Bad rows that an error lists; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of one split of one source."""

    rows: int
    """Rows that were checked."""
    good: int
    """Rows that were written: of scored answers, pairs."""
    dropped: Mapping[str, int]
    """Rows that were not, by reason, the most frequent first: bad ones, and prompts without a pair."""
    listed: tuple[tuple[str, str], ...]
    """Place and fault of the first `SHOWN` bad rows."""
    unread: tuple[str, ...]
    """Columns, and keys of messages, that training has no use for."""
    format: str
    """The format in which the rows were read."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Verdict:
        """What `as_dict` made, after JSON has turned tuples into lists."""
        listed = tuple((place, fault) for place, fault in stored["listed"])
        return cls(**{**stored, "listed": listed, "unread": tuple(stored["unread"])})

    def require(self, on_bad_row: OnBadRow, name: str) -> None:
        """Refuse data without rows, bad rows unless they are to be dropped, and data of which nothing is left.

        Raises:
            DataError: naming the first bad rows by their index, counted from 0, and counting all.
        """
        if self.rows == 0:
            raise DataError(Fault(key=name, rule="has no rows"))
        bad = {reason: count for reason, count in self.dropped.items() if not reason.startswith(NO_PAIR)}
        if bad and on_bad_row == "error":
            rule = f"has {sum(bad.values())} bad rows out of {self.rows} ({_listed(bad)})"
            total = Fault(key=name, rule=rule, remedy="mend them, or leave them out with on_bad_row: drop")
            raise DataError([*(Fault(key=place, rule=f"is bad: {fault}") for place, fault in self.listed), total])
        if not self.good:
            raise DataError(Fault(key=name, rule=f"has no good row among {self.rows} ({_listed(self.dropped)})"))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in counts.items())


@dataclass
class Tally:
    """A verdict in the making."""

    counts: Counter[str] = field(default_factory=Counter)
    listed: list[tuple[str, str]] = field(default_factory=list)

    def add(self, fault: RowFault, place: str) -> None:
        self.counts[fault.reason] += 1
        if len(self.listed) < SHOWN and not fault.reason.startswith(NO_PAIR):
            self.listed.append((place, str(fault)))

    def verdict(self, *, rows: int, unread: tuple[str, ...], format: str = "", good: int | None = None) -> Verdict:
        """
        Args:
            good: rows that were written, where a row can be several; all that are not bad when absent.
        """
        dropped = dict(self.counts.most_common())
        good = rows - self.counts.total() if good is None else good
        return Verdict(rows=rows, good=good, dropped=dropped, listed=tuple(self.listed), unread=unread, format=format)
