"""Answers to a file of prompts on the disk, one line each, written at once: whatever ends the process loses none."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from alignment.errors import Fault, SetupError, sentence_of
from alignment.files import replacing, write_json
from alignment.generation.answers import Answer

COLUMNS = ("answer", "finished", "tokens")
BASE = "base_"
"""What the columns of the base model's answers begin with."""
ROW = "row"
TAKEN = frozenset({ROW, *COLUMNS, *(BASE + column for column in COLUMNS)})
"""Columns that a row of prompts cannot have."""


class AnswerFile:
    """Lines `{"row": number, ...}`, in the order in which they come until `finish` sorts them.

    Beside it lies `<stem>.settings.json` with what decides the answers; the same command goes on where it stopped.

    Args:
        about: what decides the answers, such as model, prompts and settings; plain JSON.

    Raises:
        SetupError: it cannot be written, another process writes it, or it holds something else.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self._lines: dict[tuple[int, str], int] = {}
        settings = path.with_suffix(".settings.json")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            known = settings.exists()
            if path.exists() and path.stat().st_size and not known:
                raise _foreign(path)
            self._stream: BinaryIO = path.open("a+b")
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before = _read_settings(settings) if known else {}
            _check_same(before, json.loads(json.dumps(about)), settings)
            write_json(settings, {**before, **about})
            self._read()
        except BlockingIOError as error:
            raise SetupError(Fault(key=str(path), rule="is being written by another process")) from error
        except OSError as error:
            raise self._unwritable(error) from error

    def has(self, row: int, prefix: str = "") -> bool:
        """Whether the answer to a row is there."""
        return (row, prefix) in self._lines

    def add(self, row: int, answer: Answer, *, beside: Mapping[str, Any], prefix: str = "") -> None:
        """Keep an answer; it is in the file when this returns.

        Args:
            beside: the row of prompts.
            prefix: of the answer's columns.

        Raises:
            SetupError: the disk is full, or gone.
        """
        record = {ROW: row, **beside, **{prefix + name: getattr(answer, _FIELDS[name]) for name in COLUMNS}}
        try:
            at = self._stream.seek(0, os.SEEK_END)
            self._stream.write(_line(record))
            self._stream.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self._lines[row, prefix] = at

    def finish(self) -> None:
        """Sort the lines by row, each row's answers on one line."""
        try:
            with replacing(self.path) as partial, partial.open("wb") as out:
                for record in self.records():
                    out.write(_line(record))
        except OSError as error:
            raise self._unwritable(error) from error

    def records(self) -> Iterator[dict[str, Any]]:
        """Rows with their answers, in the order of the prompts."""
        gathered: dict[str, Any] = {}
        for (row, _), at in sorted(self._lines.items()):
            self._stream.seek(at)
            record = json.loads(self._stream.readline())
            if gathered and gathered[ROW] != row:
                yield gathered
                gathered = {}
            gathered |= record
        if gathered:
            yield gathered

    def close(self) -> None:
        """Release the file, so that another process can write it."""
        self._stream.close()

    def _read(self) -> None:
        """Note where the lines are. A last line that is cut, by a killed process, is removed."""
        self._stream.seek(0)
        at = 0
        for line in self._stream:
            if not line.endswith(b"\n"):
                self._stream.truncate(at)
                break
            self._note(line, at)
            at += len(line)

    def _note(self, line: bytes, at: int) -> None:
        try:
            record = json.loads(line)
            for prefix in ("", BASE):
                if prefix + COLUMNS[0] in record:
                    self._lines[int(record[ROW]), prefix] = at
        except (ValueError, KeyError, TypeError) as error:
            rule = f"holds a damaged line: {sentence_of(error)}"
            raise SetupError(Fault(key=str(self.path), rule=rule, remedy="remove the line")) from error

    def _unwritable(self, error: OSError) -> SetupError:
        rule = f"cannot be written: {error.strerror or sentence_of(error)}"
        remedy = "make room or choose another OUTPUT; what is there stays, and the same command goes on"
        return SetupError(Fault(key=str(self.path), rule=rule, remedy=remedy))


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell and UTF-8 cannot
        return json.dumps(record).encode() + b"\n"


_FIELDS = {"answer": "text", "finished": "finished", "tokens": "tokens"}
"""Columns -> fields of an `Answer`."""


def _foreign(path: Path) -> SetupError:
    rule = "exists, and was not written by this command"
    return SetupError(Fault(key=str(path), rule=rule, remedy="choose another OUTPUT, or move it away"))


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        remedy = "remove it and the answers beside it, or choose another OUTPUT"
        raise SetupError(Fault(key=str(path), rule=f"is damaged: {sentence_of(error)}", remedy=remedy)) from error


def _check_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise `SetupError` with everything that was otherwise when the answers were begun."""
    remedy = "restore it, choose another OUTPUT, or remove the answers and this file to begin anew"
    faults = [
        Fault(key=key, value=str(value), rule=f"was {before[key]} when the answers were begun ({path})", remedy=remedy)
        for key, value in now.items()
        if key in before and before[key] != value
    ]
    if faults:
        raise SetupError(faults)
