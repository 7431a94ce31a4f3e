"""Progress of training for the person who watches: a line for every log and, in a terminal, a bar below them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

from tqdm.auto import tqdm
from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from alignment.terminal import clock, in_terminal, pace

QUALITY = (("loss", "loss {:.3f}"), ("rewards/margins", "margin {:.3f}"), ("rewards/accuracies", "acc {:.2f}"))
OPTIMIZER = (("learning_rate", "lr {:.1e}"), ("grad_norm", "grad {:.3g}"))
TOKENS = (("mean_token_accuracy", "token acc {:.2f}"), ("entropy", "entropy {:.2f}"))
SPEED = (
    ("throughput/tokens_per_second", "{:,.0f} tok/s"),
    ("throughput/mfu", "{:.0%} MFU"),
    ("throughput/peak_memory_gib", "{:.1f} GiB"),
)
"""Key of a log -> how it is shown. A key that a trainer does not log is left out."""

BAR_COLUMNS = 46
"""What tqdm needs for counts, times and a stub of a bar."""


def shown(logs: Mapping[str, Any], table: tuple[tuple[str, str], ...], *, prefix: str = "") -> str:
    """What `logs` has of `table`, two blanks apart."""
    return "  ".join(form.format(logs[prefix + key]) for key, form in table if prefix + key in logs)


def fitted(groups: list[str], width: int | None, *, separator: str = " | ") -> str:
    """The groups that are not empty in one line; the last ones are left out until it is at most `width` long."""
    groups = [group for group in groups if group]
    while width is not None and len(groups) > 1 and len(separator.join(groups)) > width:
        groups.pop()
    return separator.join(groups)


def step_line(
    logs: Mapping[str, Any], *, step: int, total: int, first: int, seconds: float, width: int | None = None
) -> str:
    """One log of training.

    Args:
        first: the step at which this process began; earlier ones say nothing of its pace.
        seconds: since then.
        width: of the terminal, which has a bar for speed and time; `None` in a log, where lines may be long.
    """
    groups = [
        f"step {step:>{len(str(total))}}/{total} {100 * step // total:>3}%",
        *(shown(logs, table) for table in (QUALITY, OPTIMIZER, TOKENS)),
    ]
    if width is None:
        groups += [shown(logs, SPEED), pace(seconds, step - first, total - first)]
    return fitted(groups, width)


def evaluation_line(logs: Mapping[str, Any], *, step: int, width: int | None = None) -> str:
    """One evaluation."""
    groups = [f"eval at step {step}: {shown(logs, QUALITY, prefix='eval_')}", shown(logs, TOKENS, prefix="eval_")]
    if "eval_runtime" in logs:
        groups.append(f"took {clock(logs['eval_runtime'])}")
    return fitted(groups, width)


def summary_line(logs: Mapping[str, Any], *, steps: int) -> str:
    """The end of training. The Trainer's own rates count the steps before a resumption too; these do not."""
    seconds = logs["train_runtime"]
    return f"trained {steps} steps in {clock(seconds)}" + (f" ({seconds / steps:.1f} s a step)" if steps else "")


class Progress(ProgressCallback):
    """Shows logs and evaluations on the main process; what trackers and `trainer_state.json` get is not touched.

    Args:
        bar: draw bars for steps and evaluation batches below the lines; they carry speed and times then.
        now: seconds, for the pace.
    """

    def __init__(self, *, bar: bool, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.bar = bar
        self.now = now
        self.first = 0
        self.started = now()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.first = self.current_step = state.global_step
        self.started = self.now()
        if self.bar and state.is_world_process_zero:
            self.training_bar = tqdm(total=state.max_steps, initial=self.first, dynamic_ncols=True, unit="step")

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        if self.training_bar is not None:
            super().on_step_end(*args, **kwargs)

    def on_prediction_step(self, *args: Any, **kwargs: Any) -> None:
        if self.bar:
            super().on_prediction_step(*args, **kwargs)
        if self.prediction_bar is not None:
            self.prediction_bar.leave = False  # its line follows

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs:
            return
        columns = shutil.get_terminal_size().columns if self.bar else None
        step, total = state.global_step, state.max_steps
        if "loss" in logs:
            seconds = self.now() - self.started
            self._say(step_line(logs, step=step, total=total, first=self.first, seconds=seconds, width=columns))
            if self.training_bar is not None and columns is not None:
                groups = shown(logs, SPEED + QUALITY).split("  ")  # the line above tells the quality too
                self.training_bar.set_postfix_str(fitted(groups, columns - BAR_COLUMNS, separator=", "))
        elif "eval_loss" in logs:
            self._say(evaluation_line(logs, step=step, width=columns))
        elif "train_runtime" in logs:
            self._say(summary_line(logs, steps=step - self.first))

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        if self.training_bar is not None:
            super().on_train_end(*args, **kwargs)

    def _say(self, line: str) -> None:
        if self.bar:
            tqdm.write(line)
        else:
            print(line, flush=True)


def show_progress(trainer: Trainer) -> None:
    """Replace what transformers shows: with a bar in a terminal, unless `disable_tqdm` is set."""
    for shown_by_default in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(shown_by_default)
    trainer.add_callback(Progress(bar=in_terminal() and not trainer.args.disable_tqdm))
