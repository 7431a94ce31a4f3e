"""How the pairs of a micro-batch are laid out in memory, and the log-probabilities that go with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.data.padded_batches import PaddedPreferenceCollator
from alignment.data.shared_answers import SharedAnswersCollator
from alignment.modeling.compiled_elementwise import fuse_elementwise
from alignment.modeling.logps import CompletionLogps, padded_logps
from alignment.modeling.packed_forward import WithLayoutIndices, packed_logps, prepare_for_packing
from alignment.modeling.precision import compute_dtype
from alignment.trainers.config import ReferenceFreeConfig
from alignment.trainers.packing_plan import Packing, plan_packing


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A collator, the function that reads its batches, and the plan that fills them."""

    collator: Callable[[Any], dict[str, Tensor]]
    logps: Callable[[nn.Module, Mapping[str, Tensor]], CompletionLogps]
    attention_backend: str
    """What computes attention, for the log and the manifest."""
    packing: Packing | None = None
    """How a step's pairs are dealt out; `None` for even micro-batches."""

    def __str__(self) -> str:
        """What is told before the first step."""
        return f"Attention by {self.attention_backend}; {self.packing or 'padded micro-batches'}."


def layout_for(
    args: ReferenceFreeConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, train_dataset: Any | None
) -> Layout:
    """The layout that `args.packing` asks for."""
    if not args.packing:
        return Layout(
            collator=PaddedPreferenceCollator(tokenizer.pad_token_id or 0),
            logps=padded_logps,
            attention_backend=model.config._attn_implementation,
        )
    backend, fused = use_fast_path(model, args, prepare_for_packing)
    packing = None
    if train_dataset is not None:
        packing = plan_packing(args, model, train_dataset, backend=backend, fused=fused)
    return Layout(
        collator=WithLayoutIndices(SharedAnswersCollator() if args.share_answers else PackedPreferenceCollator()),
        logps=packed_logps,
        attention_backend=backend,
        packing=packing,
    )


def use_fast_path(model: PreTrainedModel, args: TrainingArguments, prepare: Callable[..., str]) -> tuple[str, bool]:
    """Prepare a model for packed rows by `prepare` and fuse its elementwise work, for what `args` will compute.

    Returns:
        The attention backend, and whether anything was fused.
    """
    backend = prepare(
        model,
        requested=model.config._attn_implementation,
        longest=args.max_length,
        dtype=compute_dtype(args, model),
        device=args.device,
        allow_slow=args.allow_slow_attention,
    )
    return backend, not args.use_liger_kernel and fuse_elementwise(model, args.device)
