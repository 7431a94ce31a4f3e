"""FlexAttention over shared prompts: one compiled kernel over the whole row, with a block mask.

Used on GPUs without FlashAttention. The mask is built once per forward pass and window and shared by the layers.
FlexAttention has no backward pass on CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .attend import Scores
from .layout import SharedPrompts


def attend(query: Tensor, key: Tensor, value: Tensor, layout: SharedPrompts, scores: Scores) -> Tensor:
    """`Attend`, by one kernel."""
    q, k, v = (x.transpose(0, 1)[None] for x in (query, key, value))
    groups = q.shape[1] // k.shape[1]
    if groups & (groups - 1):
        # The kernel shares key heads among a power of two of query heads only.
        k, v, groups = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1), 1
    out = _kernel()(
        q,
        k,
        v,
        score_mod=_soft_cap(scores.softcap),
        block_mask=_block_mask(layout, scores.window),
        scale=scores.scale,
        enable_gqa=groups > 1,
    )
    return out[0].transpose(0, 1)


def mask_of(layout: SharedPrompts, window: int | None) -> Callable[..., Tensor]:
    """`visible(batch, head, query, key)` on indices of the row."""
    pair_ids, is_chosen, is_rejected, positions = (
        layout.pair_ids,
        layout.is_chosen,
        layout.is_rejected,
        layout.positions,
    )

    def visible(batch: Any, head: Any, query: Tensor, key: Tensor) -> Tensor:
        own_pair = (query >= key) & (pair_ids[query] == pair_ids[key])
        return own_pair & ~(is_rejected[query] & is_chosen[key])

    def visible_in_window(batch: Any, head: Any, query: Tensor, key: Tensor) -> Tensor:
        return visible(batch, head, query, key) & (positions[query] - positions[key] < window)

    return visible if window is None else visible_in_window


def _block_mask(layout: SharedPrompts, window: int | None) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    if window not in layout.block_masks:
        layout.block_masks[window] = create_block_mask(
            mask_of(layout, window), None, None, layout.tokens, layout.tokens, device=layout.device, _compile=True
        )
    return layout.block_masks[window]


@lru_cache(maxsize=8)
def _soft_cap(softcap: float | None) -> Callable[..., Tensor] | None:
    """One function object a value: the compiler keys its kernels by it."""
    if softcap is None:
        return None

    def capped(score: Tensor, *_: Any) -> Tensor:
        return softcap * torch.tanh(score / softcap)

    return capped


@lru_cache(maxsize=1)
def _kernel() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
