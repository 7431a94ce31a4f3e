"""FlashAttention over shared prompts: variable-length kernels with a causal mask aligned bottom right.

The keys of every prompt are gathered twice, so that each segment is one "sequence" of the kernel with `Lq`
queries and `Lk >= Lq` keys. FlashAttention aligns the causal mask of such a sequence at its bottom right corner,
which is the mask that a rejected completion needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from alignment.modeling.attention.attend import Attend, Scores
from alignment.modeling.attention.layout import SharedPrompts, repeat_prompts

MODULES = {
    "flash_attention_2": "flash_attn.flash_attn_interface",
    "flash_attention_3": "flash_attn_interface",
    "flash_attention_4": "flash_attn.cute",
}
"""Backend to the module that owns its `flash_attn_varlen_func`. FlashAttention 4 shares a folder with 2 and fills it
alone where 2 is not installed."""

HUB_EXAMPLE = "kernels-community/flash-attn2"


def on_the_hub(name: str) -> bool:
    """Whether a name is that of a repository of kernels, such as `HUB_EXAMPLE`."""
    return name.count("/") == 1 and "|" not in name


def load(name: str) -> Attend:
    """The attention of one FlashAttention generation, or of a kernel of the Hub.

    Raises:
        Exception: whatever importing it raises; `AttributeError` when it has no variable-length function.
    """
    if on_the_hub(name):
        from kernels import get_kernel

        module = get_kernel(name)
    else:
        module = importlib.import_module(MODULES[name])
    return partial(attend_with, module.flash_attn_varlen_func, None if name == "flash_attention_4" else -1)


def attend_with(
    kernel: Callable[..., Any],
    unlimited: int | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SharedPrompts,
    scores: Scores,
) -> Tensor:
    """`Attend`, by a kernel with FlashAttention's variable-length signature.

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
        softmax_scale=scores.scale,
        causal=True,
        # The kernel counts the keys before a query's own; ours counts its own too.
        window_size=(unlimited, unlimited) if scores.window is None else (scores.window - 1, 0),
        softcap=scores.softcap or 0.0,
    )
    return out[0] if isinstance(out, tuple) else out
