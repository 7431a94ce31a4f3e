"""A checkpoint is sealed once every rank has written its part; only then do older ones go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import rotate_checkpoints

from alignment.output.checkpoints import seal


class SealCheckpoints(TrainerCallback):
    """Seals every checkpoint, and keeps as many as `save_total_limit` says.

    The Trainer would delete the older one before the new one is sealed; a process killed between the two would leave
    none that counts. So it is told to keep all, and the oldest go here.

    Args:
        args: the run's; its `save_total_limit` is taken over.
        identity: of the run, kept in every checkpoint.
    """

    def __init__(self, args: TrainingArguments, identity: Mapping[str, Any]) -> None:
        self._identity = identity
        self._limit, args.save_total_limit = args.save_total_limit, None

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        PartialState().wait_for_everyone()
        if not args.should_save:
            return
        seal(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}", self._identity)
        rotate_checkpoints(
            output_dir=str(args.output_dir),
            save_total_limit=self._limit,
            best_model_checkpoint=state.best_model_checkpoint,
            use_mtime=True,
        )
