"""The parts of `verify_gpu.py` that compute in their own process: kernels, host synchronizations, memory, compilations.

A part returns its evidence, raises `Skipped` where it has nothing to look at, and anything else where it fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from arms import ours, summed_loss, to_device
from gpu import free_memory
from torch import Tensor
from transformers import PreTrainedModel
from workload import Size, build_model, make_pairs, sample_lengths

from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.modeling.attention import BACKENDS, Needs, this_machine
from alignment.modeling.attention.probe import fault_of, fault_of_backend
from alignment.modeling.attention.segments import attend as plain_attention
from alignment.modeling.chunked_logps import BLOCK_BYTES
from alignment.modeling.compiled_elementwise import fuse_elementwise
from alignment.modeling.flops import Geometry
from alignment.modeling.memory_plan import bytes_per_token, checkpoint_first_layers, plan_memory, score_bytes
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing

Evidence = dict[str, Any]


class Skipped(Exception):
    """Why a part has nothing to look at here."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and with what a part runs."""

    device: str
    size: Size
    folder: Path
    """Where results go."""
    seconds: float
    """How long it may take."""

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.device == "cuda" else torch.float32

    @property
    def two_layers(self) -> Size:
        return replace(self.size, model={**self.size.model, "num_hidden_layers": 2})


def needs_gpu(setting: Setting) -> None:
    if setting.device != "cuda":
        raise Skipped("needs a GPU")


def backends(setting: Setting) -> Evidence:
    """Every backend that can be imported, forward and backward, with soft-cap 50 and heads of 256, with a window and
    without."""
    device, found = torch.device(setting.device), {}
    for window in (None, 16):
        needs = Needs(head_dim=256, dtype=setting.dtype, softcap=50.0, window=window)
        for name, misfit in BACKENDS.items():
            reason = misfit(needs, this_machine(device))
            if reason is not None:
                found[f"{name}, window {window}"] = f"skipped: {reason}"
                continue
            probed = name == "segments"
            fault = fault_of(plain_attention, needs, device) if probed else fault_of_backend(name, needs, device)
            found[f"{name}, window {window}"] = f"failed: {fault}" if fault else "right"
    failed = [name for name, said in found.items() if said.startswith("failed")]
    if failed:
        raise AssertionError(f"{', '.join(f'{name} {found[name]}' for name in failed)} (all: {found})")
    return found


def compiled_pieces(setting: Setting) -> Evidence:
    """Fused norms and activations and the head against plain ones: errors of losses against fp32, of both."""
    return _against_plain(
        setting, lambda model: fuse_elementwise(model, model.device, compiled=model.device.type == "cuda")
    )


def liger(setting: Setting) -> Evidence:
    """Liger's kernels against plain ones, patched as the Trainer patches a model."""
    try:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance as patch
    except ImportError:
        raise Skipped("not installed: liger-kernel") from None
    needs_gpu(setting)
    return _against_plain(
        setting, lambda model: patch(model=model, fused_linear_cross_entropy=False, cross_entropy=False)
    )


def _against_plain(setting: Setting, change: Callable[[PreTrainedModel], object]) -> Evidence:
    pairs = make_pairs(sample_lengths(4, setting.size), setting.size)

    def means_and_gradient(dtype: torch.dtype, changed: bool) -> tuple[Tensor, Tensor]:
        model = build_model(setting.two_layers, dtype=dtype, device=setting.device)
        prepare_for_packing(model, longest=setting.size.max_length)
        if changed:
            change(model)
        means = packed_logps(model, on_device(pairs, model)).means
        means.sum().backward()
        return means.detach().double(), model.base_model.norm.weight.grad.double()

    exact = means_and_gradient(torch.float32, False)
    plain = means_and_gradient(setting.dtype, False)
    found = means_and_gradient(setting.dtype, True)
    errors = {
        name: {"plain": (theirs - truth).norm().item(), "changed": (mine - truth).norm().item()}
        for name, truth, theirs, mine in zip(("log-probabilities", "gradient"), exact, plain, found, strict=True)
    }
    for name, error in errors.items():
        scale = dict(zip(errors, exact, strict=True))[name].norm().item()
        assert error["changed"] <= 1.5 * error["plain"] + 1e-5 * scale, f"{name} off by {error}"
    return errors


def synchronizations(setting: Setting) -> Evidence:
    """A micro-batch, forward and backward, in which the CPU waits for the GPU not once."""
    needs_gpu(setting)
    model = prepared(setting, setting.two_layers)
    step = micro_batch(model, setting.size, seed=0)
    for _ in range(2):
        step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"host synchronizations": 0}


def compilations(setting: Setting) -> Evidence:
    """No compilation after the third step, whatever the lengths, nor in or after an evaluation."""
    from torch._dynamo.utils import counters

    model = prepared(setting, setting.two_layers)
    counts = []
    for seed in range(8):
        micro_batch(model, setting.size, seed=seed, pairs=2 + seed % 3)()
        if seed == 5:
            with torch.no_grad():
                packed_logps(
                    model, on_device(make_pairs(sample_lengths(3, setting.size, seed=99), setting.size), model)
                )
        counts.append(counters["stats"]["unique_graphs"])
    assert counts[-1] == counts[2], f"graphs compiled by the end of each step: {counts}"
    return {"graphs compiled by the end of each step": counts}


def memory(setting: Setting) -> Evidence:
    """Planned bytes against what the allocator reserves at most, for the whole model."""
    needs_gpu(setting)
    model = build_model(setting.size, dtype=setting.dtype, device=setting.device)
    backend = prepare_for_packing(model, longest=setting.size.max_length)
    fused = fuse_elementwise(model, model.device)
    lengths, geometry = sample_lengths(64, setting.size), Geometry.of(model.config)
    scores = score_bytes(backend, geometry, setting.dtype.itemsize, lengths)
    plan = plan_memory(
        geometry,
        setting.dtype.itemsize,
        free_memory(model),
        checkpointing="auto",
        longest_pair=max(map(sum, lengths)),
        fused=fused,
        scores=scores,
    )
    chosen: list[Any] = []
    for pair in lengths:
        if sum(map(sum, chosen)) + sum(pair) <= plan.tokens:
            chosen.append(pair)
    tokens = sum(map(sum, chosen))
    checkpoint_first_layers(model, plan.checkpointed_layers)
    each = bytes_per_token(geometry, setting.dtype.itemsize, plan.checkpointed_layers, fused=fused, scores=scores)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    planned = 2 * weights + tokens * each + 3 * BLOCK_BYTES["cuda"]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    ours(model, make_pairs(chosen, setting.size)).backward()
    torch.cuda.synchronize()
    found = {
        "attention backend": backend,
        "tokens": tokens,
        "checkpointed layers": plan.checkpointed_layers,
        "planned GiB": round(planned / 2**30, 2),
        "max_memory_allocated GiB": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "max_memory_reserved GiB": round(torch.cuda.max_memory_reserved() / 2**30, 2),
    }
    assert abs(planned / torch.cuda.max_memory_reserved() - 1) <= 0.1, f"more than 10 % apart: {found}"
    return found


def prepared(setting: Setting, size: Size) -> PreTrainedModel:
    """A model as a run prepares it."""
    model = build_model(size, dtype=setting.dtype, device=setting.device)
    prepare_for_packing(model, longest=size.max_length)
    fuse_elementwise(model, model.device)
    return model


def micro_batch(model: PreTrainedModel, size: Size, *, seed: int, pairs: int = 4) -> Callable[[], None]:
    """Forward and backward of a collated batch that lies in pinned memory."""
    batch = PackedPreferenceCollator()(make_pairs(sample_lengths(pairs, size, seed=seed), size, seed=seed))
    if model.device.type == "cuda":
        batch = {name: value.pin_memory() if isinstance(value, Tensor) else value for name, value in batch.items()}

    def step() -> None:
        moved = {k: v.to(model.device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
        summed_loss(packed_logps(model, moved).means).backward()

    return step


def on_device(pairs: list[Any], model: PreTrainedModel) -> dict[str, Any]:
    return to_device(PackedPreferenceCollator()(pairs), model.device)
