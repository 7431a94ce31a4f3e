"""One source, read in one format: each row by itself, to its canonical checked form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alignment.data.form import Kind, checked_row
from alignment.data.formats.columns import ColumnMap, mapped
from alignment.data.formats.refused import LABELS
from alignment.data.formats.row_format import Format, Row, Scored
from alignment.data.formats.table import FORMATS
from alignment.data.formats.unread import MEANT, refuse_unread, refuse_unwanted
from alignment.data.messages import RowFault, unpack
from alignment.data.row_findings import NO_PAIR
from alignment.data.selection import WHY_NONE, select_pairs
from alignment.data.turns import SYSTEM
from alignment.recipe.selection import SelectionSettings

BESIDE = ("tools", *SYSTEM)
"""Columns that every format reads."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a recipe says about the rows of one source."""

    dataset_format: str = "auto"
    columns: tuple[str, ...] | None = None
    """Of the source, those to read; all when absent."""
    column_map: ColumnMap = field(default_factory=dict)
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    """Which of scored answers become a pair."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def kept(self, row: Row) -> dict[str, Any]:
        """The columns of a row that are read, under our names."""
        wanted = row if self.columns is None else {name: row[name] for name in self.columns if name in row}
        return mapped(wanted, self.column_map)

    def name_of(self, column: str) -> str | None:
        """Our name of a column of the source, or `None` when it is left out."""
        return None if self.columns is not None and column not in self.columns else self.column_map.get(column, column)


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Reads rows of one format. It holds names alone, so that other processes can be given it."""

    kind: Kind
    format_name: str
    asked: Asked = field(default_factory=Asked)

    @property
    def format(self) -> Format:
        return FORMATS[self.format_name]

    def reads(self, column: str) -> bool:
        """Whether a column of the source goes into what is trained."""
        return self.asked.name_of(column) in (*self.format.columns, *BESIDE)

    def looks_at(self, column: str) -> bool:
        """Whether a column of the source is read, or refused when it says something."""
        return self.reads(column) or self.asked.name_of(column) in (*MEANT, *LABELS)

    def __call__(self, row: Row) -> list[dict[str, Any]]:
        """What a row that is fit to train on becomes, but for its origin: one row, or a few pairs of scored answers.

        Raises:
            RowFault: it is not fit, or gives no pair.
        """
        ours = self.asked.kept(row)
        if self.kind == "conversation" and self.format.gives == "conversation":
            refuse_unwanted(ours)
        found = self.read(ours)
        said = unpack(found[0]["prompt"] if self.kind == "preference" else found[0]["messages"])
        refuse_unread(ours, (*self.format.columns, *BESIDE), said)
        return found

    def read(self, ours: Row) -> list[dict[str, Any]]:
        """`__call__`, of a row under our names, whatever columns it has beside those of the format."""
        beside = {column: ours[column] for column in BESIDE if column in ours}
        return [checked_row({**beside, **row}, self.kind) for row in self._canonical(ours)]

    def _canonical(self, ours: Row) -> list[Mapping[str, Any]]:
        """The canonical rows of a row; of a pair that is read as a conversation, the better answer."""
        found = self.format.convert(ours)
        rows = self._pairs(found, str(ours.get("prompt_id"))) if isinstance(found, Scored) else [found]
        if self.kind == "conversation" and self.format.gives == "preference":
            return [{column: row[column] for column in ("prompt", "chosen") if column in row} for row in rows]
        return rows

    def _pairs(self, scored: Scored, name: str) -> list[Mapping[str, Any]]:
        key = f"{name}/{[message['content'] for message in scored.prompt]}"
        selected = select_pairs(scored.responses, scored.scores, self.asked.selection, key=key)
        if selected.why_none is not None:
            raise RowFault(f"{NO_PAIR}: {WHY_NONE[selected.why_none]}")
        texts = scored.responses
        return [
            {"prompt": scored.prompt, "chosen": texts[better], "rejected": texts[worse]}
            for better, worse in selected.pairs
        ]
