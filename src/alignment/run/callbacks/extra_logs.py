"""Numbers logged beside the trainer's own."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import Trainer


def log_beside(trainer: Trainer, numbers: Mapping[str, float]) -> None:
    """Log `numbers` now, and them alone.

    Trainers add to a log what they have measured since the last one, so theirs is passed by; and the step's own log,
    where one is due, is not taken for done.
    """
    due = trainer.control.should_log
    Trainer.log(trainer, dict(numbers))
    trainer.control.should_log = due
