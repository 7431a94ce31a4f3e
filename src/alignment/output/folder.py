"""The folder of a run: who may write to it, and where the run goes on.

A folder belongs to one recipe, whose rows, tokenizer and base weights are those of its first run. `recipe.json` records
the recipe when the run starts, `identity.json` all of it once it is known; a run whose card, its last file, is written
is finished.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.data.held_folder import held
from alignment.errors import Fault, SetupError
from alignment.files import write_json
from alignment.output.checkpoints import checkpoints, identity_of, last_whole, set_broken_aside
from alignment.output.identity import differences

MANIFEST = "run_manifest.json"
RECIPE = "recipe.json"
IDENTITY = "identity.json"
CARD = "README.md"
CURVES = "training_curves.png"
PAGE = "report.html"
LOCK = ".lock"

_REPORTS = (
    *(MANIFEST, RECIPE, IDENTITY, CARD, CURVES, PAGE, "before_after.json", "trainer_state.json"),
    *("all_results.json", "train_results.json", "eval_results.json"),
)
"""What a run says of itself. Left over from an earlier run it would speak for the new one."""

# Keys that change neither the data, the model nor the updates: a run may be resumed with other values.
FREE_KEYS = frozenset(
    "output_dir overwrite_output_dir report_to run_name project disable_tqdm "
    "logging_strategy logging_steps logging_first_step log_level save_total_limit push_to_hub "
    "hub_model_id hub_private_repo hub_revision hub_strategy dataset_num_proc dataloader_num_workers "
    "dataloader_pin_memory per_device_eval_batch_size tokens_per_device sample_evaluation evaluation use_cpu "
    "save_every_minutes acknowledge alarms sample_every".split()
)


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """What is already there."""

    path: Path
    finished: bool
    resume_from: Path | None
    """The newest whole checkpoint of an unfinished run."""
    told: tuple[str, ...] = ()
    """What was found damaged, and what was done about it."""

    def check_identity(self, identity: Mapping[str, Any]) -> None:
        """Refuse to go on, or to call the run finished, when rows, tokenizer or base weights are others now.

        Raises:
            SetupError: naming what differs.
        """
        if self.resume_from is not None:
            before, what = identity_of(self.resume_from), f"{self.resume_from.name} in {self.path} was trained on"
            remedy = "restore them, choose another --output_dir, or delete the folder"
        elif self.finished:
            before, what = _read_json(self.path / IDENTITY) or {}, f"the finished run in {self.path} was trained on"
            remedy = "restore them, choose another --output_dir, or set overwrite_output_dir: true"
        else:
            return
        faults = list(differences(before, identity, what=what, remedy=remedy))
        if faults:
            raise SetupError(faults)


@contextmanager
def claim(path: Path, recipe: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[RunFolder]:
    """Take `path` for a run of `recipe` (plain nested mapping) and hold it until the block ends.

    Raises:
        SetupError: the folder cannot be written, another process trains into it, or it holds a run of
            another recipe.
    """
    _check_writable(path)
    with held(path, LOCK):
        finished = (path / MANIFEST).exists() and (path / CARD).exists()
        if finished and overwrite:
            for checkpoint in checkpoints(path):
                shutil.rmtree(checkpoint)
            finished = False
        else:
            _check_same_recipe(path, recipe, finished=finished)
        told = [] if finished else set_broken_aside(path)
        resume_from = None if finished else last_whole(path)
        if not finished and resume_from is None:
            _forget_reports(path)
        write_json(path / RECIPE, recipe)
        yield RunFolder(path=path, finished=finished, resume_from=resume_from, told=tuple(told))


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
    newest = last_whole(path)
    if not (path / RECIPE).exists() and checkpoints(path):
        raise SetupError(
            Fault(
                key="output_dir",
                value=str(path),
                rule="holds checkpoints of a run that this program did not start",
                remedy="choose another --output_dir",
            )
        )
    if not finished and newest is None:
        return
    before = _recorded_recipe(path, newest)
    now = json.loads(json.dumps(recipe))
    changed = sorted(key for key in {*before, *now} - FREE_KEYS if before.get(key) != now.get(key))
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


def _recorded_recipe(path: Path, newest: Path | None) -> dict[str, Any]:
    """The recipe of the run in `path`: of its own record or, where that is damaged, of what else it left."""
    for source in (path / RECIPE, path / IDENTITY):
        content = _read_json(source)
        if content is not None:
            return content if source.name == RECIPE else content.get("recipe", {})
    if newest is not None:
        return identity_of(newest)["recipe"]
    raise SetupError(
        Fault(
            key="output_dir",
            value=str(path),
            rule=f"holds a finished run whose {RECIPE} is damaged, so that it cannot be told which recipe it was",
            remedy="choose another --output_dir, or set overwrite_output_dir: true",
        )
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    """A JSON mapping, or `None` where there is none or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
