"""Compiled functions that evaluation shares with training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def as_in_training(
    compiled: Callable[..., Tensor], activations: Sequence[Tensor], *others: Any, **kwargs: Any
) -> Tensor:
    """`compiled(*activations, *others, **kwargs)`, by the kernels of training where no gradient is asked for, too.

    The compiler keeps the two apart, and the first evaluation would compile everything again in the middle of a run.
    """
    if torch.is_inference_mode_enabled():
        return compiled(*activations, *others, **kwargs)
    if torch.is_grad_enabled():
        return compiled(*map(_Fresh.apply, activations), *others, **kwargs)
    with torch.enable_grad():
        inputs = [_Fresh.apply(x.detach().requires_grad_()) for x in activations]
        return compiled(*inputs, *others, **kwargs).detach()


class _Fresh(torch.autograd.Function):
    """The same numbers as a tensor that is no view: what it would be a view of is one of the compiler's criteria."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad
