"""The precision that a run computes in."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainingArguments


def compute_dtype(args: TrainingArguments, model: Any) -> torch.dtype:
    """What the forward computes in, and the final weights are saved in: mixed precision, where on, else the weights'."""
    if args.bf16:
        return torch.bfloat16
    return torch.float16 if args.fp16 else model.dtype
