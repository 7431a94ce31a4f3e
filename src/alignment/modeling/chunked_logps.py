"""Log-probabilities of given tokens from hidden states, without ever holding `[tokens, vocabulary]` logits.

`N` completion tokens, vocabulary `V`, hidden size `H`. The logits are built for a block of the vocabulary at a
time and reduced to what is needed of them. The backward pass builds them again, but for the few blocks that are
cheap to keep. Blocks run over the vocabulary and not over the tokens, because then a block's weight gradient is
complete at once: it is written exactly once, by one matrix product, as the plain computation would write it.

fp32 throughout the softmax (fp64 for fp64 inputs), the model's own soft-cap included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK_BYTES = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}
"""fp32 logits computed at a time: about what a CPU core's caches hold, and what keeps a GPU busy."""

KEPT_BYTES = {"cpu": 320 * 2**20, "cuda": 0}
"""fp32 logits kept for the backward pass. On a CPU a product saved is worth more than memory; not so on a GPU."""

_PLANNED_FOR: ContextVar[str | None] = ContextVar("planned for", default=None)

Term = tuple[Tensor, Tensor]
"""`(x [N, k], weight [V, k])`, one summand `x @ weight.T` of the logits."""


@contextmanager
def planned_for(device_type: str) -> Iterator[None]:
    """Take the sizes of another kind of device: tensors without content stand for tensors there."""
    token = _PLANNED_FOR.set(device_type)
    try:
        yield
    finally:
        _PLANNED_FOR.reset(token)


def chunked_logps(
    terms: Sequence[Term], targets: Tensor, *, softcap: float | None = None, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets` under `softmax(cap(sum of x @ weight.T))`.

    Args:
        terms: the summands of the logits. A plain head has one; LoRA adds `(x A^T, B)`, a bias `(ones, bias)`.
        targets: `[N]` token ids.
        softcap: logits become `softcap * tanh(logits / softcap)`, as Gemma-2's do (arXiv 2408.00118, sec. 2).
        block: vocabulary entries at a time; by default what keeps the logits within `BLOCK_BYTES`.

    Returns:
        `[N]` log-probabilities and `[N]` mean logits over the vocabulary (no gradient), at least fp32.
    """
    vocabulary = terms[0][1].shape[0]
    column_bytes = 4 * max(1, len(targets))
    device_type = _PLANNED_FOR.get() or targets.device.type
    if block is None:
        budget = BLOCK_BYTES.get(device_type, BLOCK_BYTES["cuda"])
        block = min(vocabulary, max(256, budget // column_bytes))
    kept = KEPT_BYTES.get(device_type, 0) // (block * column_bytes) if torch.is_grad_enabled() else 0
    return _ChunkedLogps.apply(targets, softcap, block, kept, *(tensor for term in terms for tensor in term))


class _ChunkedLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, targets: Tensor, softcap: float | None, block: int, kept: int, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.softcap, ctx.block, ctx.dtype = softcap, block, compute_dtype_of(tensors[0])
        xs, weights = [x.to(ctx.dtype) for x in tensors[::2]], tensors[1::2]
        kernels = _kernels(targets.device)
        ctx.kept = deque()
        workspace = xs[0].new_empty(len(targets), block)
        target_logits = torch.zeros(targets.shape, device=targets.device, dtype=_precise(ctx.dtype))
        logit_sums = torch.zeros_like(target_logits)
        normalizers = []
        for part in _parts(weights[0].shape[0], block):
            keep = len(ctx.kept) < kept
            out = torch.empty_like(workspace) if keep else workspace
            z = kernels.capped(_scaled_logits(xs, weights, part, softcap, out), softcap)
            if keep:
                ctx.kept.append(z)
            found, normalizer, total = kernels.block_statistics(z, targets - part.start)
            target_logits += found
            logit_sums += total
            normalizers.append(normalizer)
        log_normalizers = torch.stack(normalizers).logsumexp(0)
        # The weights are saved as they came, not as cast: a sharded weight is gathered again for the backward pass.
        ctx.save_for_backward(targets, log_normalizers, *tensors)
        mean_logits = logit_sums / weights[0].shape[0]
        ctx.mark_non_differentiable(mean_logits)
        return target_logits - log_normalizers, mean_logits

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_logps: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        targets, log_normalizers, *tensors = ctx.saved_tensors
        xs, weights = [x.to(ctx.dtype) for x in tensors[::2]], tensors[1::2]
        x_grads = [_zeros(x) if need else None for x, need in zip(xs, ctx.needs_input_grad[4::2], strict=True)]
        weight_grads = [
            torch.empty_like(weight) if need else None
            for weight, need in zip(weights, ctx.needs_input_grad[5::2], strict=True)
        ]
        kernels = _kernels(targets.device)
        workspace = xs[0].new_empty(len(targets), ctx.block)
        for part in _parts(weights[0].shape[0], ctx.block):
            # The kept blocks are the first ones. Each is used up here, so that a second backward pass builds it again.
            if ctx.kept:
                z = ctx.kept.popleft()
            else:
                z = kernels.capped(_scaled_logits(xs, weights, part, ctx.softcap, workspace), ctx.softcap)
            grads = kernels.block_gradients(z, targets - part.start, log_normalizers, grad_logps, ctx.softcap)
            grads = grads.to(ctx.dtype)
            for x, weight, x_grad, weight_grad in zip(xs, weights, x_grads, weight_grads, strict=True):
                if x_grad is not None:
                    _add_product(x_grad, grads, weight[part].to(ctx.dtype))
                if weight_grad is not None:
                    _write_product(weight_grad[part], grads.t(), x)
        x_grads = [g if g is None else g.to(x.dtype) for g, x in zip(x_grads, tensors[::2], strict=True)]
        return None, None, None, None, *(g for pair in zip(x_grads, weight_grads, strict=True) for g in pair)


def capped(scaled_logits: Tensor, softcap: float | None) -> Tensor:
    """The model's logits in at least fp32, from what `_scaled_logits` gives, which may be overwritten.

    `tanh(x) = 2 sigmoid(2x) - 1`; a CPU computes the sigmoid four times faster, with the same error against fp64.
    """
    z = scaled_logits.to(_precise(scaled_logits.dtype))
    return z if softcap is None else z.sigmoid_().mul_(2 * softcap).sub_(softcap)


def block_statistics(z: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a block of logits `[N, v]` says about each token.

    Args:
        columns: `[N]` column of each token's target in the block, outside `0..v-1` when it lies in another block.

    Returns:
        Logit of the target (0 when elsewhere), log of the sum of exponentials, sum of logits; each `[N]`.
    """
    inside = (columns >= 0) & (columns < z.shape[1])
    found = z.gather(1, columns.clamp(0, z.shape[1] - 1)[:, None])[:, 0]
    # The softmax is one fused pass on a CPU; `logsumexp` is four.
    normalizer = z.amax(-1) - z.log_softmax(-1).amax(-1)
    return found.where(inside, 0.0), normalizer, z.sum(-1)


def block_gradients(
    z: Tensor, columns: Tensor, log_normalizers: Tensor, grad_logps: Tensor, softcap: float | None
) -> Tensor:
    """Gradient `[N, v]` with respect to raw logits: `g (onehot - softmax(z)) (1 - (z / softcap)^2)`.

    `z` may be overwritten.
    """
    grads = (z - log_normalizers[:, None]).exp_().mul_(-grad_logps[:, None])
    inside = ((columns >= 0) & (columns < z.shape[1])).to(grads.dtype) * grad_logps
    grads.scatter_add_(1, columns.clamp(0, z.shape[1] - 1)[:, None], inside[:, None])
    return grads if softcap is None else grads.addcmul_(grads, z.square_(), value=-1 / softcap**2)


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


class _Kernels(NamedTuple):
    """The three functions above, plain or compiled."""

    capped: Callable[..., Tensor] = capped
    block_statistics: Callable[..., tuple[Tensor, Tensor, Tensor]] = block_statistics
    block_gradients: Callable[..., Tensor] = block_gradients


def _kernels(device: torch.device) -> _Kernels:
    """Compiled on a GPU, so that each is one pass over the logits instead of several."""
    return _compiled() if device.type == "cuda" else _Kernels()


@lru_cache(maxsize=1)
def _compiled() -> _Kernels:
    return _Kernels(
        torch.compile(capped, dynamic=True),
        torch.compile(block_statistics, dynamic=True),
        torch.compile(block_gradients, dynamic=True),
    )


def _scaled_logits(
    xs: Sequence[Tensor], weights: Sequence[Tensor], part: slice, softcap: float | None, out: Tensor
) -> Tensor:
    """A block of raw logits, times 2 / soft-cap if there is one, in `out [N, >= v]`; scaling a product is free."""
    scale = 1.0 if softcap is None else 2.0 / softcap
    logits = out[:, : part.stop - part.start]
    for number, (x, weight) in enumerate(zip(xs, weights, strict=True)):
        torch.addmm(logits, x, weight[part].to(x.dtype).t(), beta=min(number, 1), alpha=scale, out=logits)
    return logits


def _zeros(x: Tensor) -> Tensor:
    """A sum over blocks, kept in fp32 so that blocks add no rounding."""
    return torch.zeros(x.shape, device=x.device, dtype=_precise(x.dtype))


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """`total += a @ b` without rounding the product to `a`'s dtype where the device offers that."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    elif a.is_cuda:
        total += torch.mm(a, b, out_dtype=total.dtype)
    else:
        total += a @ b


def _write_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """`out = a @ b`, in place."""
    if out.dtype == a.dtype:
        torch.mm(a, b, out=out)
    else:
        out.copy_(a @ b)


def _parts(length: int, block: int) -> list[slice]:
    return [slice(start, min(start + block, length)) for start in range(0, length, block)]


def compute_dtype_of(x: Tensor) -> torch.dtype:
    """What a linear layer would compute in: autocast's choice where it is active, else the dtype of `x`."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
