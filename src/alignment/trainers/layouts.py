"""How the pairs of a micro-batch are laid out in memory, and the log-probabilities that go with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignment.data.batches import PaddedPreferenceCollator
from alignment.data.sampler import Plan
from alignment.modeling.logps import CompletionLogps, padded_logps
from alignment.trainers.config import ReferenceFreeConfig


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A collator, the function that reads its batches, and the plan that fills them."""

    name: str
    collator: Callable[[Any], dict[str, Tensor]]
    logps: Callable[[nn.Module, Mapping[str, Tensor]], CompletionLogps]
    attention_backend: str
    """What computes attention, for the log and the manifest."""
    train_plan: Plan | None = None
    """How a step's pairs are dealt out; `None` for even micro-batches."""


def layout_for(
    args: ReferenceFreeConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, train_dataset: Any | None
) -> Layout:
    """The layout that `args.packing` asks for."""
    return Layout(
        name="padded",
        collator=PaddedPreferenceCollator(tokenizer.pad_token_id),
        logps=padded_logps,
        attention_backend=model.config._attn_implementation,
    )
