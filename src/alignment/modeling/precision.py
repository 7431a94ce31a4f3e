"""The precision that a run computes in."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainingArguments


def compute_dtype(args: TrainingArguments, model: Any) -> torch.dtype:
    """Of the forward and of the final weights: mixed precision, where it is on, else what the weights are held in."""
    if args.bf16:
        return torch.bfloat16
    return torch.float16 if args.fp16 else model.dtype
