"""Exact attention, one segment after another, in plain torch: every device, every dtype, every head size.

The softmax is computed in fp32 (fp64 for fp64 inputs) and nothing of size `T x T` is built, only
`heads x queries x keys` of one segment at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alignment.modeling.attention.attend import Scores
from alignment.modeling.attention.layout import SharedPrompts, repeat_prompts, visible_keys


def attend(query: Tensor, key: Tensor, value: Tensor, layout: SharedPrompts, scores: Scores) -> Tensor:
    """`Attend`, which the other backends are measured by."""
    keys = repeat_prompts(key, layout).split(layout.key_lengths)
    values = repeat_prompts(value, layout).split(layout.key_lengths)
    queries = query.split(layout.query_lengths)
    outputs = [_segment(*segment, scores) for segment in zip(queries, keys, values, strict=True)]
    return torch.cat(outputs)


def _segment(q: Tensor, k: Tensor, v: Tensor, scores: Scores) -> Tensor:
    """`[Lq, heads, dim]` queries over `[Lk, kv_heads, dim]` keys and values."""
    num_queries, heads, dim = q.shape
    num_keys, kv_heads, _ = k.shape
    # The query heads that share a key head are stacked, so that keys are never copied per query head.
    stacked = q.view(num_queries, kv_heads, heads // kv_heads, dim).permute(1, 2, 0, 3).flatten(1, 2)
    logits = stacked @ k.permute(1, 2, 0) * scores.scale
    if scores.softcap is not None:
        logits = scores.softcap * torch.tanh(logits / scores.softcap)
    hidden = ~visible_keys(num_queries, num_keys, scores.window, q.device)
    logits = logits.unflatten(1, (-1, num_queries)).masked_fill(hidden, float("-inf"))
    precise = torch.promote_types(q.dtype, torch.float32)
    weights = logits.softmax(-1, dtype=precise).to(q.dtype).flatten(1, 2)
    out = weights @ v.transpose(0, 1)
    return out.view(kv_heads, -1, num_queries, dim).permute(2, 0, 1, 3).flatten(1, 2)
