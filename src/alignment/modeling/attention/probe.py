"""Before a GPU kernel is trusted with a run, it computes one small packed row, forward and backward.

Kernels are built for other combinations of GPU, head size and soft-cap than the ones at hand more often than their
version numbers tell. The probe costs a fraction of a second, and FlexAttention's compilation is needed anyway.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from alignment.errors import SetupError, sentence_of
from alignment.modeling.attention import segments
from alignment.modeling.attention.attend import Attend, Scores
from alignment.modeling.attention.backends import (
    BACKENDS,
    Machine,
    Needs,
    attention_of,
    choose_backend,
    misfit_of,
    refusal,
)
from alignment.modeling.attention.layout import SharedPrompts

logger = logging.getLogger(__name__)

LENGTHS = [(19, 33, 7), (40, 5, 61), (1, 1, 1)]
TOLERANCE = 2.0
"""Error against fp64 that is allowed, as a multiple of the plain computation's in the same dtype."""


def choose_proven_backend(needs: Needs, machine: Machine, device: torch.device, requested: str | None) -> str:
    """As `choose_backend`, but a kernel that fails its probe on `device` is passed over, or refused if requested."""
    chosen = choose_backend(needs, machine, requested)
    if device.type != "cuda":
        return chosen
    names = list(BACKENDS)
    for name in names[names.index(chosen) :] if chosen in names else [chosen]:
        if misfit_of(name)(needs, machine) is not None:
            continue
        reason = None if name == "segments" else fault_of_backend(name, needs, device)
        if reason is None:
            return name
        if name == requested:
            raise SetupError(refusal(name, reason))
        logger.warning("Attention backend %s is passed over: it %s.", name, reason)
    raise AssertionError("the last backend is plain torch")


def fault_of_backend(name: str, needs: Needs, device: torch.device) -> str | None:
    """As `fault_of`, for a backend that has yet to be imported."""
    try:
        attend = attention_of(name)
    except Exception as error:  # a package may be broken in any way, most often built for another PyTorch
        return f"cannot be imported: {sentence_of(error)}"
    return fault_of(attend, needs, device)


def fault_of(attend: Attend, needs: Needs, device: torch.device) -> str | None:
    """What is wrong with a kernel, as a sentence part; `None` when its output and gradients are right."""
    generator = torch.Generator().manual_seed(0)
    layout = SharedPrompts(LENGTHS, device)
    query_heads = 2 * needs.groups
    shapes = [(layout.tokens, heads, needs.head_dim) for heads in (query_heads, 2, 2, query_heads)]
    # Scores of a few units: soft-caps and windows then change the result by far more than rounding does.
    inputs = [(torch.randn(shape, generator=generator) * 2).to(device, needs.dtype) for shape in shapes]
    for window in {None, needs.window and min(needs.window, 16)}:
        scores = Scores(scale=needs.head_dim**-0.5, softcap=needs.softcap, window=window)
        exact = _values(segments.attend, inputs, layout, scores, torch.float64)
        plain = _values(segments.attend, inputs, layout, scores, needs.dtype)
        try:
            found = _values(attend, inputs, layout, scores, needs.dtype)
        except Exception as error:  # a kernel may fail in any way; the reason is told, and nothing is swallowed
            return f"fails here: {(str(error).strip().splitlines() or [type(error).__name__])[0]}"
        for name, truth, usual, mine in zip(("output", "dq", "dk", "dv"), exact, plain, found, strict=True):
            off, usually_off = ((side.double() - truth).norm() / truth.norm() for side in (mine, usual))
            if not off <= TOLERANCE * usually_off + 1e-6:
                return f"is off by {off:.1e} in its {name} (plain computation: {usually_off:.1e})"
    return None


def _values(
    attend: Attend, inputs: list[Tensor], layout: SharedPrompts, scores: Scores, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Output and gradients of query, key and value."""
    *qkv, outer = (x.to(dtype) for x in inputs)
    with torch.enable_grad():
        query, key, value = (x.requires_grad_() for x in qkv)
        out = attend(query, key, value, layout, scores)
        return out.detach(), *torch.autograd.grad(out, (query, key, value), outer)
