"""What every attention backend takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from alignment.modeling.attention.layout import SharedPrompts


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How a layer scores its keys."""

    scale: float
    """Factor of the scores, applied before the soft-cap."""
    softcap: float | None = None
    """Scores become `softcap * tanh(scores / softcap)`."""
    window: int | None = None
    """Keys that a query sees at most, itself included."""


Attend = Callable[[Tensor, Tensor, Tensor, SharedPrompts, Scores], Tensor]
"""Attention over shared prompts: query `[T, heads, dim]`, key and value `[T, kv_heads, dim]`, each serving
`heads / kv_heads` query heads, the packed row's layout and the layer's scores to `[T, heads, dim]`."""
