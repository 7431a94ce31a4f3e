"""The folders of what was made on the way, each belonging to the settings that it was made by.

Answers and scores cost hours. So they are kept by a digest of everything that decides them, never overwritten, and
found again when settings come back to what they were. Where settings have changed since, nothing is made anew unless
the recipe says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignment.data.fingerprint import digest_of
from alignment.errors import Fault, SetupError
from alignment.files import write_json
from alignment.pairs.records import Records, writing
from alignment.pairs.workers import Worker

STAGES = ".stages"
"""Hidden, so that nobody who loads the data set reads it."""
_SETTINGS = "settings.json"


def stage_records(
    folder: Path, stage: str, settings: Mapping[str, Any], *, worker: Worker, anew: bool = False
) -> Records:
    """What `stage` has made by these settings.

    Args:
        folder: of the data set.
        stage: `answers` or `scores`.
        settings: dotted key -> value of everything that decides the records.
        anew: begin where there are records by other settings and none by these.

    Raises:
        SetupError: there are records by other settings, and they may not be made anew; names what changed.
    """
    settings = json.loads(json.dumps(settings))
    place = folder / STAGES / stage / digest_of(settings)[:16]
    if not place.exists() and not anew:
        _refuse_others(place.parent, stage, settings)
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        if worker.rank == 0:
            write_json(place / _SETTINGS, settings)
    return Records(place)


def _refuse_others(parent: Path, stage: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings other than those of the newest records, if there are any."""
    earlier = [path for path in parent.glob(f"*/{_SETTINGS}") if any(path.parent.glob("part-*.jsonl"))]
    if not earlier:
        return
    newest = max(earlier, key=lambda path: path.stat().st_mtime)
    count = len(Records(newest.parent))
    if count:
        raise SetupError(list(_changes(json.loads(newest.read_text("utf-8")), settings, f"{count} {stage}", newest)))


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], what: str, path: Path) -> Iterator[Fault]:
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield Fault(
                key=key,
                value=now.get(key, "(absent)"),
                rule=f"was {before.get(key, '(absent)')!r} when the {what} in {path.parent} were made",
                remedy="restore it, choose another --output_dir, or make them anew with --overwrite_output_dir true",
            )


def flat(section: str, values: Mapping[str, Any], *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The values of a section by dotted key."""
    return {f"{section}.{key}": value for key, value in values.items() if key not in without}
