"""Norms and gated activations as one GPU kernel each instead of five to ten.

Computed one operation at a time, the elementwise work of Gemma-2-9B moves about four times the bytes that it needs to
and takes a third of a step. Only pure functions are compiled, with nothing of the module system inside: hooks of
DeepSpeed, FSDP and peft stay outside, parameters keep their names, and a changing number of tokens does not recompile.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from alignment.modeling.class_swap import mix_in
from alignment.modeling.compiled import as_in_training
from alignment.modeling.peft import inside_adapters

OFFSET_NORMS = ("gemma2", "gemma3_text")
"""Models whose RMS norm multiplies by `1 + weight`, in fp32; the others multiply by `weight`, in the input's dtype."""


def fuse_elementwise(model: nn.Module, device: torch.device, *, compiled: bool = True) -> bool:
    """Fuse a transformers model's RMS norms and gated MLPs in place; whether anything was fused.

    Args:
        model: one that packing is proven for, wrapped by peft or not.
        device: what it will compute on. Elsewhere than on a GPU that Triton serves nothing is done.
        compiled: `False` swaps the functions on any device, without compiling them.
    """
    if compiled and not (device.type == "cuda" and importlib.util.find_spec("triton")):
        return False
    inner = inside_adapters(model)
    compile_with = _compile if compiled else _as_it_is
    norm = compile_with(offset_rms_norm if inner.config.model_type in OFFSET_NORMS else rms_norm)
    # All layers have the same activation, and one function for all of them is compiled once.
    gate = compile_with(gated(inner.base_model.layers[0].mlp.act_fn))
    for module in inner.modules():
        if type(module).__name__.endswith("RMSNorm"):
            mix_in(_FusedNorm, module)
            module.fused_norm = norm
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
            mix_in(_FusedMLP, module)
            module.fused_gate = gate
    return True


def offset_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Gemma's: `x / rms(x) * (1 + weight)` in fp32, then rounded."""
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    normal = precise * torch.rsqrt(precise.square().mean(-1, keepdim=True) + eps)
    return (normal * (1.0 + weight.to(precise.dtype))).to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Llama's: `x / rms(x)` in fp32, rounded, then times `weight`."""
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    normal = precise * torch.rsqrt(precise.square().mean(-1, keepdim=True) + eps)
    return weight * normal.to(x.dtype)


class _FusedNorm(nn.Module):
    """Mixed into an RMS norm of transformers, whose epsilon is `eps` or `variance_epsilon`."""

    weight: Tensor
    eps: float
    variance_epsilon: float
    fused_norm: Callable[..., Tensor]

    def forward(self, x: Tensor) -> Tensor:
        eps = self.eps if hasattr(self, "eps") else self.variance_epsilon
        return as_in_training(self.fused_norm, [x], self.weight, eps)


class _FusedMLP(nn.Module):
    """Mixed into a gated MLP of transformers."""

    gate_proj: nn.Module
    up_proj: nn.Module
    down_proj: nn.Module
    fused_gate: Callable[..., Tensor]

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(as_in_training(self.fused_gate, [self.gate_proj(x), self.up_proj(x)]))


def gated(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """`activation(gate) * up`."""

    def function(gate: Tensor, up: Tensor) -> Tensor:
        return activation(gate) * up

    return function


@cache
def _compile(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function, dynamic=True)


def _as_it_is(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return function
