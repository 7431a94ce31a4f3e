"""Numbers logged beside the trainer's own."""

from __future__ import annotations

from collections.abc import Mapping

from transformers import Trainer


def log_beside(trainer: Trainer, numbers: Mapping[str, float]) -> None:
    """Log `numbers` now. The step's own log, where one is due, is not taken for done by that."""
    due = trainer.control.should_log
    trainer.log(dict(numbers))
    trainer.control.should_log = due
