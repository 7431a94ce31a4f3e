"""One source, read in one format: each row by itself, to its canonical checked form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from alignment.data.form import Kind, checked_row
from alignment.data.formats.columns import ColumnMap, mapped
from alignment.data.formats.row_format import Format, Row
from alignment.data.formats.table import FORMATS
from alignment.data.formats.unread import MEANT, refuse_unread
from alignment.data.messages import unpack
from alignment.data.turns import SYSTEM

BESIDE = ("tools", *SYSTEM)
"""Columns that every format reads."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a recipe says about the rows of one source."""

    dataset_format: str = "auto"
    columns: tuple[str, ...] | None = None
    """Of the source, those to read; all when absent."""
    column_map: ColumnMap = field(default_factory=dict)

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
        return self.reads(column) or self.asked.name_of(column) in MEANT

    def __call__(self, row: Row) -> dict[str, Any]:
        """The columns of a row that is fit to train on, but for its origin.

        Raises:
            RowFault: it is not.
        """
        ours = self.asked.kept(row)
        checked = self.read(ours)
        said = unpack(checked["prompt"] if self.kind == "preference" else checked["messages"])
        refuse_unread(ours, (*self.format.columns, *BESIDE), said)
        return checked

    def read(self, ours: Row) -> dict[str, Any]:
        """`__call__`, of a row under our names, whatever columns it has beside those of the format."""
        beside = {column: ours[column] for column in BESIDE if column in ours}
        return checked_row({**beside, **self._canonical(ours)}, self.kind)

    def _canonical(self, ours: Row) -> Mapping[str, Any]:
        """Of a pair that is read as a conversation, the better answer."""
        row = self.format.convert(ours)
        if self.kind == "conversation" and self.format.gives == "preference":
            return {column: row[column] for column in ("prompt", "chosen") if column in row}
        return row
