"""Rows as people have them: which format they are in, and how each becomes canonical."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

if TYPE_CHECKING:
    from alignment.data.formats.listing import unread_of
    from alignment.data.formats.reader import Asked, RowReader
    from alignment.data.formats.recognition import SAMPLE, reader_for, require_columns
    from alignment.data.formats.table import FORMATS

_EXPORTS = {
    "Asked": "alignment.data.formats.reader",
    "FORMATS": "alignment.data.formats.table",
    "RowReader": "alignment.data.formats.reader",
    "SAMPLE": "alignment.data.formats.recognition",
    "reader_for": "alignment.data.formats.recognition",
    "require_columns": "alignment.data.formats.recognition",
    "unread_of": "alignment.data.formats.listing",
}

__all__ = ["FORMATS", "SAMPLE", "Asked", "RowReader", "reader_for", "require_columns", "unread_of"]

__getattr__ = lazily(__name__, _EXPORTS)
