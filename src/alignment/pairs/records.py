"""What a stage has made so far: JSON lines on disk, each found by its id, none of them held in memory.

Every worker appends to a file of its own. A line counts once it ends: what a killed process or a full disk left of one
is cut off, and made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from alignment.errors import Fault, SetupError
from alignment.pairs.workers import Worker


class _Place(NamedTuple):
    file: str
    offset: int


class Records:
    """The records of one folder, those of all workers.

    Args:
        folder: made when it is absent.

    Raises:
        SetupError: it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, _Place] = {}
        self._read: dict[str, int] = {}
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.refresh()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, id: str) -> bool:
        return id in self._places

    def __getitem__(self, id: str) -> dict[str, Any]:
        """The record, read from the disk."""
        place = self._places[id]
        with (self.folder / place.file).open("rb") as stream:
            stream.seek(place.offset)
            return json.loads(stream.readline())

    def refresh(self) -> None:
        """Learn of what was added since, by this worker or another. Of two records of one id the first counts."""
        for path in sorted(self.folder.glob("part-*.jsonl")):
            with path.open("rb") as stream:
                self._index(stream, path.name)

    @contextmanager
    def adding(self, worker: Worker) -> Iterator[Appender]:
        """What this worker adds records with.

        Raises:
            SetupError: the disk is full, or the folder cannot be written. What was added is kept.
        """
        path = self.folder / f"part-{worker.rank:05}.jsonl"
        with writing(path), path.open("ab") as stream:
            stream.truncate(_whole(path))
            yield Appender(stream)

    def _index(self, stream: BinaryIO, name: str) -> None:
        offset = stream.seek(self._read.get(name, 0))
        for line in stream:
            if not line.endswith(b"\n"):
                break  # being written, or cut off
            self._places.setdefault(_id(line, self.folder / name, offset), _Place(name, offset))
            offset += len(line)
        self._read[name] = offset


class Appender:
    """Adds records to the file of one worker; each is on its way to the disk when `add` returns."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def add(self, record: dict[str, Any]) -> None:
        """Add `record`, whose key `id` names it."""
        self._stream.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        self._stream.flush()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell a user what hinders writing to `path`, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            Fault(
                key="output_dir",
                value=str(path),
                rule=f"cannot be written: {error.strerror or error}",
                remedy="make room or mend its permissions, and run the same command again: what is there is kept",
            )
        ) from error


def _whole(path: Path) -> int:
    """Bytes of the lines that end."""
    with path.open("rb") as stream:
        return sum(len(line) for line in stream if line.endswith(b"\n"))


def _id(line: bytes, path: Path, offset: int) -> str:
    try:
        return str(json.loads(line)["id"])
    except (ValueError, KeyError, TypeError) as error:
        remedy = "delete that line, and what it held is made again"
        fault = Fault(key=str(path), rule=f"is damaged at byte {offset}: a line is no record", remedy=remedy)
        raise SetupError(fault) from error
