"""Rows of JSON, JSON Lines and CSV files, compressed or not, one at a time.

They are read with the standard library rather than through Arrow: Arrow refuses a whole file (or casts it) when one
row has another type than the rest, and could not say which row that was. No file is held in memory, and no row of
more than `LONGEST` bytes.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from alignment.data.file_kind import refuse_content
from alignment.data.messages import LONGEST, RowFault, too_long
from alignment.errors import DataError, Fault, sentence_of

HEAD = 64 * 2**10
"""Bytes by which a file is recognized."""

_CHUNK = 2**20

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
TABLE_SUFFIXES = {".csv": ",", ".tsv": "\t"}
"""And what separates the columns."""


def read_rows(file: Path, kind: str) -> Iterator[tuple[Mapping[str, Any] | RowFault, str]]:
    """The rows of a file and the place of each, for messages; what is no row is a `RowFault` in its place.

    Args:
        kind: suffix without that of a compression (`.jsonl`, `.csv`).

    Raises:
        DataError: a file that cannot be read, or holds something else.
    """
    try:
        with _opened(file) as stream:
            head = stream.peek(HEAD)[:HEAD]
            refuse_content(file, head)
            if kind in TABLE_SUFFIXES:
                rows = _table(stream, file, TABLE_SUFFIXES[kind])
            elif _is_array(head, kind):
                rows = _json_array(stream, file)
            else:
                rows = _json_lines(stream, file)
            for row, place in rows:
                yield row if isinstance(row, Mapping | RowFault) else RowFault("not a JSON object"), place
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, csv.Error) as error:
        raise unreadable(file, error) from error


def unreadable(path: Path, error: BaseException) -> DataError:
    return DataError(Fault(key=str(path), rule=f"cannot be read: {sentence_of(error)}"))


def _opened(file: Path) -> io.BufferedReader:
    """The content, decompressed: what a file is, its first bytes say, whatever it is named."""
    with file.open("rb") as stream:
        magic = stream.read(6)
    opened = next((opener(file) for start, opener in _OPENERS.items() if magic.startswith(start)), None)
    return io.BufferedReader(opened or file.open("rb", buffering=0), buffer_size=HEAD)


def _zstandard(file: Path) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(pyarrow.OSFile(str(file)), "zstd")


_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _zstandard,
}


def _is_array(head: bytes, kind: str) -> bool:
    """Whether a file holds one list of rows; a line of its own may be a list too, which is a bad row."""
    first, newline, _ = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    return first.startswith(b"[") and not (kind != ".json" and newline and first.rstrip().endswith(b"]"))


def _lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines; `None` for one of more than `LONGEST` bytes."""
    while line := stream.readline(LONGEST + 1):
        if len(line) <= LONGEST:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(_CHUNK)
        yield None


def _json_lines(stream: BinaryIO, file: Path) -> Iterator[tuple[Any, str]]:
    for number, line in enumerate(_lines(stream), 1):
        if line is not None and not line.strip():
            continue
        place = f"{file.name} line {number}"
        try:
            yield too_long() if line is None else _parsed(line, first=number == 1), place
        except (ValueError, RecursionError) as error:
            yield RowFault("malformed JSON", sentence_of(error)), place
        except RowFault as fault:
            yield fault, place


def _parsed(line: bytes, *, first: bool) -> Any:
    return json.loads(line.decode("utf-8-sig" if first else "utf-8"), object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, in which no key says two things.

    Raises:
        RowFault: one does; JSON would take the last in silence.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RowFault("key stated twice", f"{twice!r}")
    return found


def _json_array(stream: BinaryIO, file: Path) -> Iterator[tuple[Any, str]]:
    """The elements of one list, decoded as they come.

    Raises:
        ValueError: no list of JSON values.
    """
    text = _Text(stream)
    text.skip("[")
    for number in itertools.count():
        if number == 0 and text.next() == "]":
            break
        try:
            yield text.value(), file.name
        except (ValueError, RecursionError, RowFault) as error:
            raise ValueError(f"row {number}: {getattr(error, 'msg', error)}") from error
        if text.next() != ",":
            break
        text.skip(",")
    if text.next() != "]":
        raise ValueError("a comma or the end of the list is missing")
    text.skip("]")
    if text.next():
        raise ValueError("something follows the list")


class _Text:
    """JSON text that is read as far as it is needed."""

    _SPACE = re.compile(r"\s*")

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = io.TextIOWrapper(stream, encoding="utf-8-sig")
        self._decoder = json.JSONDecoder(object_pairs_hook=_distinct)
        self._text = ""
        self._at = 0

    def next(self) -> str:
        """The next character that is no white space, or nothing."""
        while True:
            self._at = self._SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def skip(self, character: str) -> None:
        if self.next() == character:
            self._at += 1

    def value(self) -> Any:
        """The next value.

        Raises:
            ValueError, RecursionError, RowFault: there is none, or one that nobody can read.
        """
        self.next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if len(self._text) - self._at > LONGEST:
                    raise ValueError(f"more than {LONGEST:,} bytes, or without an end") from None
                if not self._more():
                    raise
                continue
            if end == len(self._text) and self._more():
                continue  # a number may go on
            self._at = end
            return value

    def _more(self) -> bool:
        """Read as much again as is held, so that a long value is not parsed from its beginning too often."""
        more = self._stream.read(max(_CHUNK, len(self._text) - self._at))
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)


def _table(stream: BinaryIO, file: Path, separator: str) -> Iterator[tuple[Any, str]]:
    """Rows of a table whose first line names the columns; every value is text.

    Raises:
        ValueError, csv.Error: names that occur twice, quotes that do not close, text that is not UTF-8.
    """
    csv.field_size_limit(LONGEST)
    reader = csv.reader(_decoded(stream), delimiter=separator, strict=True)
    columns = next(reader, [])
    if twice := {column for column in columns if columns.count(column) > 1}:
        raise ValueError(f"column {sorted(twice)[0]!r} occurs twice")
    for values in reader:
        if not values:
            continue
        place = f"{file.name} line {reader.line_num}"
        if len(values) == len(columns):
            yield {column: value or None for column, value in zip(columns, values, strict=True)}, place
        else:
            yield RowFault("malformed CSV", f"it has {len(values)} values, the first line {len(columns)}"), place


def _decoded(stream: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(_lines(stream), 1):
        if line is None:
            raise ValueError(f"line {number} has more than {LONGEST:,} bytes")
        yield line.decode("utf-8-sig" if number == 1 else "utf-8")
