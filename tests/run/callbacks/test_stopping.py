"""Runs that stop themselves: on a signal with a checkpoint, on a gradient that is no number without an update."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from alignment.run.callbacks.finite import Diverged, StopOnNonFinite, rows_of_step
from alignment.run.callbacks.preemption import StopOnSignal
from alignment.run.callbacks.sealing import SealCheckpoints
from alignment.trainers.reporting import ReportingTrainer


class Square(nn.Module):
    """Loss `(w x)^2`, so that an infinite row has an infinite gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": ((self.w * x) ** 2).mean()}


def trainer(tmp_path, values: list[float], **changes) -> ReportingTrainer:
    settings = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 2,
        "learning_rate": 0.1,
        "max_grad_norm": 0.0,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    args = TrainingArguments(str(tmp_path), **{**settings, **changes})
    return ReportingTrainer(Square(), args, train_dataset=Dataset.from_dict({"x": values}))


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_step_with_a_bad_row_is_not_taken(tmp_path, value, clip):
    """12 rows, 4 a step: whichever of the three steps row 5 falls into, its rows are named and the weight stays."""
    values = [1.0] * 12
    values[5] = value
    watched = trainer(tmp_path, values, max_grad_norm=clip, save_strategy="steps", save_steps=1)
    watched.add_callback(StopOnNonFinite(watched))
    watched.add_callback(SealCheckpoints(watched.args, {}))
    with pytest.raises(Diverged) as stopped:
        watched.train()
    step = watched.state.global_step + 1
    rows = rows_of_step(watched, step)
    assert 5 in rows and len(rows) == 4
    listed = ", ".join(str(row) for row in sorted(rows))
    assert f"gradient is not a finite number in a step of rows {listed} of the training data" in str(stopped.value)
    kept = f"the last good checkpoint is {tmp_path}/checkpoint-{step - 1}" if step > 1 else "no checkpoint had been"
    assert f"optimizer step {step} was not taken; {kept}" in str(stopped.value)
    assert torch.isfinite(watched.model.w)


def test_rows_of_a_step_are_those_the_trainer_visits(tmp_path):
    seen: list[list[int]] = []

    class Spy(Trainer):
        def training_step(self, model, inputs, num_items_in_batch=None):
            seen.append([int(value) - 1 for value in inputs["x"]])
            return super().training_step(model, inputs, num_items_in_batch)

    watched = trainer(tmp_path, [1.0])
    spy = Spy(Square(), watched.args, train_dataset=Dataset.from_dict({"x": [float(row + 1) for row in range(10)]}))
    spy.train()
    steps = [rows_of_step(spy, step) for step in range(1, spy.state.global_step + 1)]
    assert [len(rows) for rows in steps] == [4, 4, 2, 4, 4, 2]
    assert [row for rows in steps for row in rows] == [row for rows in seen for row in rows]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_training_after_the_step_with_a_checkpoint(tmp_path, number):
    class Preempt(TrainerCallback):
        def on_step_begin(self, args, state, control, **_) -> None:
            if state.global_step == 2:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    watched, stop = trainer(tmp_path, [1.0] * 12), StopOnSignal()
    watched.add_callback(stop)
    watched.add_callback(Preempt())
    with stop.listening():
        watched.train()
    assert stop.stopped_at == watched.state.global_step == 3
    assert (tmp_path / "checkpoint-3/trainer_state.json").exists()
    assert signal.getsignal(number) == before


def test_without_a_signal_nothing_stops(tmp_path):
    watched, stop = trainer(tmp_path, [1.0] * 12), StopOnSignal()
    watched.add_callback(stop)
    with stop.listening():
        watched.train()
    assert stop.stopped_at is None
    assert watched.state.global_step == 6
    assert not list(tmp_path.glob("checkpoint-*"))
