"""Exact attention, one segment after another, in plain torch: every device, every dtype, every head size.

The softmax is computed in fp32 (fp64 for fp64 inputs) and nothing of size `T x T` is built, only
`heads x queries x keys` of one segment at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .layout import SharedPrompts, repeat_prompts, visible_keys


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: SharedPrompts,
    *,
    scale: float,
    softcap: float | None,
    window: int | None,
) -> Tensor:
    """Attention over shared prompts.

    Args:
        query: `[T, heads, dim]`.
        key, value: `[T, kv_heads, dim]`; each serves `heads / kv_heads` query heads.
        layout: the packed row.
        scale: factor of the scores, applied before the soft-cap.
        softcap: scores become `softcap * tanh(scores / softcap)`.
        window: keys that a query sees at most, itself included.

    Returns:
        `[T, heads, dim]`.
    """
    keys = repeat_prompts(key, layout).split(layout.key_lengths)
    values = repeat_prompts(value, layout).split(layout.key_lengths)
    queries = query.split(layout.query_lengths)
    outputs = [_segment(q, k, v, scale, softcap, window) for q, k, v in zip(queries, keys, values, strict=True)]
    return torch.cat(outputs)


def _segment(q: Tensor, k: Tensor, v: Tensor, scale: float, softcap: float | None, window: int | None) -> Tensor:
    """`[Lq, heads, dim]` queries over `[Lk, kv_heads, dim]` keys and values."""
    num_queries, heads, dim = q.shape
    num_keys, kv_heads, _ = k.shape
    # The query heads that share a key head are stacked, so that keys are never copied per query head.
    stacked = q.view(num_queries, kv_heads, heads // kv_heads, dim).permute(1, 2, 0, 3).flatten(1, 2)
    scores = stacked @ k.permute(1, 2, 0) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    hidden = ~visible_keys(num_queries, num_keys, window, q.device)
    scores = scores.unflatten(1, (-1, num_queries)).masked_fill(hidden, float("-inf"))
    precise = torch.promote_types(q.dtype, torch.float32)
    weights = scores.softmax(-1, dtype=precise).to(q.dtype).flatten(1, 2)
    out = weights @ v.transpose(0, 1)
    return out.view(kv_heads, -1, num_queries, dim).permute(2, 0, 1, 3).flatten(1, 2)
