"""Checkpoints of a run: one counts once it is sealed, and as long as it is what was sealed."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.files import write_json

SEAL = "sealed.json"
"""Last file of a checkpoint: its step, its files with their sizes, and the identity of the run that wrote it."""
STATE = "trainer_state.json"
_SET_ASIDE = "incomplete-"


def checkpoints(folder: Path) -> list[Path]:
    """Every `checkpoint-N` in the folder of a run, the newest first."""
    found = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which it was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def seal(checkpoint: Path, identity: Mapping[str, Any]) -> None:
    """Declare `checkpoint` whole. Call it on one process, once every process has written its part."""
    files = {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in _files(checkpoint)}
    write_json(checkpoint / SEAL, {"step": step_of(checkpoint), "files": files, "identity": dict(identity)})


def identity_of(checkpoint: Path) -> dict[str, Any]:
    """The identity that `checkpoint` was sealed with; only for one without a `flaw`."""
    return json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["identity"]


def flaw(checkpoint: Path) -> str | None:
    """Why no run can go on from `checkpoint`, as a sentence part; `None` when it is whole."""
    if not (checkpoint / SEAL).exists():
        return "was not written to its end"
    try:
        sealed = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
        files, step, _ = sealed["files"], sealed["step"], sealed["identity"]
        for name, size in files.items():
            path = checkpoint / name
            if not path.is_file():
                return f"has lost its file {name}"
            if path.stat().st_size != size:
                return f"holds a damaged {name} ({path.stat().st_size} bytes, {size} were written)"
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"holds a damaged file ({type(error).__name__}: {error})"
    if step != step_of(checkpoint) or not isinstance(state, dict) or state.get("global_step") != step:
        return "holds the state of another step"
    return None


def last_whole(folder: Path) -> Path | None:
    """The newest checkpoint in `folder` that a run can go on from."""
    return next((checkpoint for checkpoint in checkpoints(folder) if flaw(checkpoint) is None), None)


def set_broken_aside(folder: Path) -> list[str]:
    """Rename every checkpoint that no run can go on from, so that nothing takes it for one; says which and why."""
    told = []
    for checkpoint in checkpoints(folder):
        if (reason := flaw(checkpoint)) is not None:
            aside = folder / f"{_SET_ASIDE}{checkpoint.name}"
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(checkpoint, aside)
            told.append(f"{checkpoint} {reason}; it is set aside as {aside.name}, which may be deleted.")
    return told


def _files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL)
