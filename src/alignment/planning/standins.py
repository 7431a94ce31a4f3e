"""Stand-ins of GPU kernels for tensors without content: they keep what the kernels keep, and compute nothing.

A machine that plans for a GPU has neither FlashAttention nor Triton. What matters for memory is which tensors a kernel
leaves for its backward pass and which it allocates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alignment.modeling.attention.attend import Scores
from alignment.modeling.attention.layout import SharedPrompts, repeat_prompts
from alignment.modeling.compiled_elementwise import fuse_elementwise


class _Attention(torch.autograd.Function):
    """FlashAttention: keeps its inputs, its output and fp32 normalizers."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        normalizers = query.new_empty(query.shape[1], query.shape[0], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, normalizers)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(torch.empty_like, ctx.saved_tensors[:3]))


class _Elementwise(torch.autograd.Function):
    """One fused kernel forward and one backward: keeps its inputs, and gives what its first one looks like."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        return torch.empty_like(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needed = zip(ctx.saved_tensors, ctx.needs_input_grad, strict=True)
        return tuple(torch.empty_like(x) if need else None for x, need in needed)


def attend(query: Tensor, key: Tensor, value: Tensor, layout: SharedPrompts, scores: Scores) -> Tensor:
    """`alignment.modeling.attention.attend.Attend` as FlashAttention does it."""
    return _Attention.apply(query, repeat_prompts(key, layout), repeat_prompts(value, layout))


def stand_in_for_kernels(model: nn.Module) -> None:
    """Norms and gated activations of a model as the GPU's fused ones, in place."""
    fuse_elementwise(model, torch.device("cpu"), compiled=False)
    for module in model.modules():
        for name, stand_in in (("fused_norm", _norm), ("fused_gate", _Elementwise.apply)):
            if hasattr(module, name):
                setattr(module, name, stand_in)


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _Elementwise.apply(x, weight)
