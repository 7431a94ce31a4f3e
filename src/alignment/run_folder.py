"""The folder of a run: who may write to it, and where the run goes on.

A folder belongs to one recipe. `recipe.json` records it when the run starts; a run whose manifest and card are
both written is finished.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from alignment.errors import Fault, SetupError

MANIFEST = "run_manifest.json"
RECIPE = "recipe.json"
CARD = "README.md"
CURVES = "training_curves.png"
LOCK = ".lock"

_REPORTS = (
    *(MANIFEST, RECIPE, CARD, CURVES, "before_after.json", "trainer_state.json"),
    *("all_results.json", "train_results.json", "eval_results.json"),
)
"""What a run says of itself. Left over from an earlier run it would speak for the new one."""

# Keys that change neither the data, the model nor the updates: a run may be resumed with other values.
_FREE_KEYS = frozenset(
    "extends output_dir overwrite_output_dir resume_from_checkpoint report_to run_name project disable_tqdm "
    "logging_dir logging_strategy logging_steps logging_first_step log_level save_total_limit push_to_hub "
    "hub_model_id hub_token hub_private_repo hub_revision hub_strategy dataset_num_proc dataloader_num_workers "
    "dataloader_pin_memory per_device_eval_batch_size tokens_per_device sample_evaluation use_cpu "
    "save_every_minutes".split()
)


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """What is already there."""

    path: Path
    finished: bool
    resume_from: Path | None
    """The newest complete checkpoint of an unfinished run."""


@contextmanager
def claim(path: Path, recipe: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[RunFolder]:
    """Take `path` for a run of `recipe` (plain nested mapping) and hold it until the block ends.

    Raises:
        SetupError: the folder cannot be written, another process trains into it, or it holds a run of
            another recipe.
    """
    _check_writable(path)
    lock = FileLock(path / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise SetupError(
            Fault(
                key="output_dir",
                value=str(path),
                rule="is being written by another process",
                remedy="wait for it, stop it, or choose another --output_dir",
            )
        ) from None
    try:
        finished = (path / MANIFEST).exists() and (path / CARD).exists()
        if finished and overwrite:
            for checkpoint in _checkpoints(path):
                shutil.rmtree(checkpoint)
            finished = False
        else:
            _check_same_recipe(path, recipe, finished=finished)
        resume_from = None if finished else last_checkpoint(path)
        if not finished and resume_from is None:
            _forget_reports(path)
        _write_json(path / RECIPE, recipe)
        yield RunFolder(path=path, finished=finished, resume_from=resume_from)
    finally:
        lock.release()


def last_checkpoint(path: Path) -> Path | None:
    """The newest `checkpoint-N` that was written to its end.

    `trainer_state.json` is the last file of a checkpoint, so a process killed while saving leaves a
    folder without a readable one; that folder is passed over.
    """
    complete = [folder for folder in _checkpoints(path) if _is_complete(folder)]
    return max(complete, key=_step, default=None)


def _checkpoints(path: Path) -> list[Path]:
    return [folder for folder in path.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", folder.name)]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _is_complete(checkpoint: Path) -> bool:
    try:
        return json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == _step(checkpoint)
    except (OSError, ValueError, KeyError):
        return False


def _check_writable(path: Path) -> None:
    probe = path / f".probe-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as error:
        raise SetupError(
            Fault(
                key="output_dir",
                value=str(path),
                rule=f"cannot be written: {error.strerror}",
                remedy="make room, fix its permissions, or choose another --output_dir",
            )
        ) from error


def _check_same_recipe(path: Path, recipe: Mapping[str, Any], *, finished: bool) -> None:
    record = path / RECIPE
    if not record.exists():
        if _checkpoints(path):
            raise SetupError(
                Fault(
                    key="output_dir",
                    value=str(path),
                    rule="holds checkpoints of a run that this program did not start",
                    remedy="choose another --output_dir",
                )
            )
        return
    if not finished and last_checkpoint(path) is None:
        return
    before = json.loads(record.read_text())
    now = json.loads(json.dumps(recipe))
    changed = sorted(key for key in {*before, *now} - _FREE_KEYS if before.get(key) != now.get(key))
    if changed:
        raise SetupError(
            [
                Fault(
                    key=key,
                    value=now.get(key, "(absent)"),
                    rule=f"was {before.get(key, '(absent)')!r} in the {'finished' if finished else 'unfinished'} "
                    f"run in {path}",
                    remedy="restore it, choose another --output_dir"
                    + (", or set overwrite_output_dir: true" if finished else ", or delete the folder"),
                )
                for key in changed
            ]
        )


def _forget_reports(path: Path) -> None:
    """Remove what an earlier run says of itself; its weights are replaced when this one saves its own."""
    for name in _REPORTS:
        (path / name).unlink(missing_ok=True)
    shutil.rmtree(path / "adapter", ignore_errors=True)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(partial, path)
