"""What is made once and kept on disk: a folder that is there whole or not at all.

One process makes it, under a file lock; others that need it wait for the lock, not in a collective operation of
`torch.distributed`, whose time-out would end the run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from alignment.errors import Fault, SetupError

logger = logging.getLogger(__name__)

_SEAL = "seal.json"
_SCRATCH = ".writing-"


class Kept(NamedTuple):
    """A folder that is whole."""

    folder: Path
    facts: dict[str, Any]
    """What its maker returned, as JSON has it."""
    found: bool
    """Whether it was there already."""


def keep(folder: Path, make: Callable[[Path], dict[str, Any]]) -> Kept:
    """The folder if it is there and undamaged; else `make(scratch)` writes its files to `scratch`.

    Whatever `make` raises leaves no folder.

    Raises:
        SetupError: the place cannot be written.
    """
    if (facts := _sealed(folder)) is not None:
        return Kept(folder, facts, True)
    with _alone(folder):
        if (facts := _sealed(folder, warn=True)) is not None:
            return Kept(folder, facts, True)
        _remove_left_over(folder.parent)
        _make(folder, make)
    facts = _sealed(folder)
    assert facts is not None, f"{folder} was written and does not read back"
    return Kept(folder, facts, False)


def passing_folder() -> Path:
    """A folder for what is needed as long as this process lives."""
    return Path(_passing().name)


@functools.cache
def _passing() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="alignment-", ignore_cleanup_errors=True)


def digest_of_file(path: Path) -> str:
    """sha256 of its content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sealed(folder: Path, *, warn: bool = False) -> dict[str, Any] | None:
    """The facts of a folder that is whole; a damaged one is none."""
    if not folder.exists():
        return None
    try:
        seal = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        # Libraries put files of their own beside data: only what was sealed counts.
        if any(digest_of_file(folder / name) != digest for name, digest in seal["files"].items()):
            raise ValueError("its files are not those that were written")
        return dict(seal["facts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if warn:
            logger.warning("What is kept in %s is damaged (%s); making it again", folder, error)
        return None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process a folder at a time."""
    lock = _lock(folder)
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"Another process is preparing {folder}; waiting for it.", flush=True)
            lock.acquire()
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    try:
        yield
    finally:
        lock.release()


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.parent / ".locks" / f"{folder.name}.lock")


def _remove_left_over(parent: Path) -> None:
    """Scratch folders whose makers were killed: nobody holds their locks."""
    for scratch in parent.glob(f"{_SCRATCH}*"):
        lock = _lock(parent / scratch.name.removeprefix(_SCRATCH))
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(scratch, ignore_errors=True)
        except Timeout:
            continue


def _make(folder: Path, make: Callable[[Path], dict[str, Any]]) -> None:
    scratch = folder.with_name(_SCRATCH + folder.name)
    shutil.rmtree(scratch, ignore_errors=True)  # its maker is dead, as its lock is ours
    try:
        scratch.mkdir(parents=True)
        fresh = scratch / "fresh"
        fresh.mkdir()
    except OSError as error:
        raise _unwritable(folder.parent, error) from error
    try:
        facts = make(fresh)
        seal = {"files": {path.name: digest_of_file(path) for path in sorted(fresh.iterdir())}, "facts": facts}
        (fresh / _SEAL).write_text(json.dumps(seal, indent=2), encoding="utf-8")
        if folder.exists():
            folder.rename(scratch / "damaged")
        fresh.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unwritable(parent: Path, error: OSError) -> SetupError:
    remedy = "set ALIGNMENT_CACHE to a folder that can"
    return SetupError(Fault(key=str(parent), rule=f"cannot be written: {error.strerror or error}", remedy=remedy))
