"""Rows as people have them: which format they are in, and how each becomes canonical."""

from __future__ import annotations

from alignment.data.formats.listing import unread_of
from alignment.data.formats.reader import Asked, RowReader
from alignment.data.formats.recognition import SAMPLE, reader_for, require_columns
from alignment.data.formats.table import FORMATS

__all__ = ["FORMATS", "SAMPLE", "Asked", "RowReader", "reader_for", "require_columns", "unread_of"]
