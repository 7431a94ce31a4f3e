"""What a run asks of its trainer beyond `transformers.Trainer`, and what one answers that has nothing to add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import Trainer


class ReportingTrainer(Trainer):
    """The base of every trainer in `METHODS`."""

    @property
    def attention_backend(self) -> str:
        """What computes attention, for the manifest."""
        return self.model.config._attn_implementation

    @property
    def batch_facts(self) -> Mapping[str, Any]:
        """What the manifest says of a step beyond the arguments."""
        return {}

    def rows_with_bad_loss(self) -> list[int]:
        """Rows of the current optimizer step whose loss is known to be NaN or infinite. A collective call."""
        return []
