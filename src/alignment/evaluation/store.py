"""Items of a long measurement on disk, one line each, written at once: whatever ends the process loses none of them."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignment.errors import Fault, SetupError
from alignment.files import write_json

ITEMS = "items.jsonl"
ABOUT = "about.json"


class ItemStore:
    """Records by id in a folder that says what they are about. Threads may share it.

    Args:
        folder: made when it is not there.
        about: what decides the records, such as model, settings and versions; plain JSON.

    Raises:
        SetupError: the folder holds records about something else.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.path = folder / ITEMS
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        _claim(folder, json.loads(json.dumps(about)))
        self.found = dict(_read(self.path))
        """The records that there are: id -> record."""

    def add(self, id: str, record: Mapping[str, Any]) -> None:
        """Keep a record; it is on the disk when this returns."""
        line = json.dumps({"id": id, **record}, ensure_ascii=False) + "\n"
        with self._lock:
            with self.path.open("ab") as stream:
                stream.write(line.encode("utf-8", "surrogatepass"))
                stream.flush()
                os.fsync(stream.fileno())
            self.found[id] = dict(record)


def set_aside(folder: Path) -> Path | None:
    """Rename a folder to `<name>.1`, `.2`, ..., so that a measurement begins anew and nothing is lost."""
    if not folder.exists():
        return None
    number = next(n for n in range(1, 10**6) if not folder.with_name(f"{folder.name}.{n}").exists())
    return Path(shutil.move(folder, folder.with_name(f"{folder.name}.{number}")))


def _claim(folder: Path, about: dict[str, Any]) -> None:
    path = folder / ABOUT
    if not path.exists():
        write_json(path, about)
        return
    try:
        before = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise SetupError(
            Fault(key=str(path), rule=f"is damaged: {error}", remedy="begin anew with FRESH=1, which sets it aside")
        ) from error
    differing = list(_differences(before, about))
    if differing:
        raise SetupError(
            [
                Fault(
                    key=key,
                    value=now,
                    rule=f"was {old!r} when what lies in {folder} was made",
                    remedy="restore it, or begin anew with FRESH=1, which sets the old ones aside",
                )
                for key, old, now in differing
            ]
        )


def _differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys at which two JSON values differ, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield key, before, now


def _read(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a file, whose last line may have been cut by a kill; that one is removed."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as stream:
            stream.truncate(len(whole))
    for number, line in enumerate(whole.decode("utf-8", "surrogatepass").split("\n")[:-1], 1):
        try:
            record = json.loads(line)
            yield str(record.pop("id")), record
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise SetupError(
                Fault(key=f"line {number} of {path}", rule=f"is damaged: {error}", remedy="remove this line")
            ) from error
