"""The alarms of a running training: told, recorded and, where the recipe says so, the end of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.methods import Method
from alignment.recipe.guards import AlarmSettings
from alignment.run.callbacks.alarms.detector import Course, Detector, Log
from alignment.run.callbacks.alarms.table import DETECTORS
from alignment.run.callbacks.extra_logs import log_beside
from alignment.run.callbacks.tracking import alert

LOGGED = "alarms/"
"""Begins the name under which an alarm is logged, with the value 1, for trackers."""


class Alarms(TrainerCallback):
    """Shows every log to every alarm that is not off. Each is raised once in the life of a run.

    The first rank decides and tells the others, so that all of them stop at the same step. A run that goes on from a
    checkpoint replays the logs kept there, and prints nothing of them again.

    Args:
        trainer: the trainer that is watched, whose `log` records the alarms.
        method: what it trains.
        settings: what happens when an alarm is raised.
        chosen_tokens: mean length of the preferred answers, or of what is trained in a conversation.
        repeats: how often an epoch shows each different row.
    """

    def __init__(
        self,
        trainer: Trainer,
        method: Method,
        settings: AlarmSettings,
        *,
        chosen_tokens: float | None = None,
        repeats: float = 1.0,
    ) -> None:
        self._trainer = trainer
        self._method = method
        self._settings = settings
        self._rows = {"chosen_tokens": chosen_tokens, "repeats": repeats}
        self._waiting: dict[str, Detector] = {}
        self._training = False
        self.raised: list[dict[str, Any]] = []
        """`{"name", "step", "message"}` of every alarm so far, in order."""
        self.stopped_by: str | None = None
        """The alarm that ended the run."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        course = course_of(self._trainer, self._method, steps=state.max_steps, **self._rows)
        off = {name for name in DETECTORS if self._settings.action(name) == "off"}
        self._waiting = {name: made(course) for name, made in DETECTORS.items() if name not in off}
        self._training = True
        for entry in state.log_history:
            self.raised += self._seen(entry)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._training = False

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        if not logs or any(name.startswith(LOGGED) for name in logs):
            return
        seen = [self._seen({**logs, "step": state.global_step})]
        if PartialState().num_processes > 1:
            broadcast_object_list(seen)
        for alarm in seen[0]:
            self.raised.append(alarm)
            self._tell(alarm, args, state)
        stopping = [alarm["name"] for alarm in seen[0] if self._settings.action(alarm["name"]) == "stop"]
        if stopping and self._training and self.stopped_by is None:
            self.stopped_by = stopping[0]
            control.should_save = True
            control.should_evaluate = False
            control.should_training_stop = True

    def _seen(self, log: Log) -> list[dict[str, Any]]:
        """The alarms that `log` raises."""
        found = {name: detector.see(log) for name, detector in self._waiting.items()}
        raised = {name: finding for name, finding in found.items() if finding is not None}
        for name in raised:
            del self._waiting[name]
        return [{"name": name, "step": int(log["step"]), "message": str(finding)} for name, finding in raised.items()]

    def _tell(self, alarm: Mapping[str, Any], args: TrainingArguments, state: TrainerState) -> None:
        if state.is_world_process_zero:
            tqdm.write(f"alarm: {alarm['name']} at step {alarm['step']}: {alarm['message']}")
            alert(args.report_to, f"{alarm['name']} at step {alarm['step']}", alarm["message"])
        log_beside(self._trainer, {f"{LOGGED}{alarm['name']}": 1.0})


def course_of(trainer: Trainer, method: Method, *, steps: int, **rows: Any) -> Course:
    """What the alarms know of a run."""
    return Course(
        method=method,
        steps=steps,
        batch=trainer.get_total_train_batch_size(trainer.args),
        anchored=method.data == "conversation" or getattr(trainer, "sft_weight", 0.0) > 0,
        beta=getattr(trainer.args, "beta", None) or 0.0,
        adapters=hasattr(trainer.accelerator.unwrap_model(trainer.model), "peft_config"),
        evaluation_rows=0 if trainer.eval_dataset is None else len(trainer.eval_dataset),
        **rows,
    )
