"""FlashAttention over shared prompts: variable-length kernels with a causal mask aligned bottom right.

The keys of every prompt are gathered twice, so that each segment is one "sequence" of the kernel with `Lq`
queries and `Lk >= Lq` keys. FlashAttention aligns the causal mask of such a sequence at its bottom right corner,
which is the mask that a rejected completion needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import Tensor

from .layout import SharedPrompts, repeat_prompts

MODULES = {
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "flash_attention_4": "flash_attn.cute",
}
"""Backend to the module that offers its `flash_attn_varlen_func`."""


def load(name: str) -> Callable[..., Tensor]:
    """The attention of one FlashAttention generation, ready to be called as `segments.attend` is."""
    kernel = importlib.import_module(MODULES[name]).flash_attn_varlen_func
    unlimited = None if name == "flash_attention_4" else -1

    def attend(*tensors: Any, **options: Any) -> Tensor:
        return attend_with(kernel, *tensors, unlimited=unlimited, **options)

    return attend


def attend_with(
    kernel: Callable[..., Any],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SharedPrompts,
    *,
    scale: float,
    softcap: float | None,
    window: int | None,
    unlimited: int | None = -1,
) -> Tensor:
    """As `segments.attend`, by a kernel with FlashAttention's variable-length signature.

    Args:
        unlimited: how the kernel spells a window without limit.
    """
    out = kernel(
        query,
        repeat_prompts(key, layout),
        repeat_prompts(value, layout),
        cu_seqlens_q=layout.cu_queries,
        cu_seqlens_k=layout.cu_keys,
        max_seqlen_q=max(layout.query_lengths),
        max_seqlen_k=max(layout.key_lengths),
        softmax_scale=scale,
        causal=True,
        # The kernel counts the keys before a query's own; `window` counts its own too.
        window_size=(unlimited, unlimited) if window is None else (window - 1, 0),
        softcap=0.0 if softcap is None else softcap,
    )
    return out[0] if isinstance(out, tuple) else out
