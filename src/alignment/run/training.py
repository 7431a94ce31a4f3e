"""The training itself: its callbacks, its evaluation at the end, and the metrics it leaves in the folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Trainer

from alignment.errors import Preempted
from alignment.files import write_json
from alignment.redaction import write_portable
from alignment.run.callbacks.alarms.stop import stopped
from alignment.run.callbacks.alarms.watch import Alarms
from alignment.run.callbacks.finite import StopOnNonFinite
from alignment.run.callbacks.preemption import StopOnSignal
from alignment.run.callbacks.saving import SaveSchedule
from alignment.trainers.reporting import ReportingTrainer


def train(
    trainer: ReportingTrainer, alarms: Alarms, *, resume_from: Path | None, save_every_minutes: float | None = None
) -> dict[str, Any]:
    """Train, evaluate, and leave metrics and state in the folder; returns seconds and rates."""
    preemption = StopOnSignal()
    trainer.add_callback(SaveSchedule(save_every_minutes))
    trainer.add_callback(preemption)
    trainer.add_callback(StopOnNonFinite(trainer))
    with preemption.listening():
        metrics = trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from)).metrics
    if preemption.stopped_at is not None:
        raise Preempted(f"Stopped as asked; checkpoint-{preemption.stopped_at} is saved in {trainer.args.output_dir}.")
    if alarms.stopped_by is not None:
        raise stopped(alarms, Path(str(trainer.args.output_dir)))
    evaluated = {} if trainer.eval_dataset is None else evaluated_now(trainer) or trainer.evaluate()
    save_results(trainer, train=metrics, eval=evaluated)
    return {"train_seconds": metrics["train_runtime"], "samples_per_second": metrics["train_samples_per_second"]}


def save_results(trainer: Trainer, **metrics: Mapping[str, float]) -> None:
    """Leave `<split>_results.json`, all of them in `all_results.json`, and `trainer_state.json` in the folder.

    Only checkpoints, which nobody publishes, need absolute paths.
    """
    if not trainer.args.should_save:
        return
    folder = Path(str(trainer.args.output_dir))
    for split, values in metrics.items():
        if values:
            write_json(folder / f"{split}_results.json", values)
    write_json(
        folder / "all_results.json", {name: value for values in metrics.values() for name, value in values.items()}
    )
    write_portable(folder / "trainer_state.json", dataclasses.asdict(trainer.state))


def evaluated_now(trainer: Trainer) -> dict[str, float]:
    """The metrics of an evaluation that the last step has just made of the final weights; empty when there is none."""
    entries = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    if trainer.args.load_best_model_at_end or not entries or entries[-1]["step"] != trainer.state.global_step:
        return {}
    return {name: value for name, value in entries[-1].items() if name != "step"}


def optimizer_steps(trainer: Trainer) -> int:
    """How many optimizer steps the whole run takes."""
    args = trainer.args
    if args.max_steps > 0:
        return args.max_steps
    rows, batch = len(trainer.train_dataset), trainer.get_total_train_batch_size(args)
    return math.ceil(math.ceil(rows / batch) * args.num_train_epochs)
