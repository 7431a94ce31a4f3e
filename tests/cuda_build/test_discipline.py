"""Every device and every host synchronization of the packed path, looked at with tensors that have no numbers.

A fake CUDA tensor runs forward passes of the full geometry in seconds, without a GPU. Autograd's engine wants a real
device, so backward passes of our own functions are called directly, and whole steps take fake CPU tensors, on which
`.item()` raises as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from conftest import OneDevice
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.nn.attention import flex_attention
from transformers import Gemma2ForCausalLM, PreTrainedModel
from workload import SIZES, config_of, make_pairs, sample_lengths

from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.losses import simpo_loss
from alignment.modeling import chunked_logps as head
from alignment.modeling.attention import attention_of, flash, layout
from alignment.modeling.compiled_elementwise import fuse_elementwise
from alignment.modeling.memory_plan import checkpoint_first_layers
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing
from alignment.modeling.paired_forward import share_prompts

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
NINE_B = SIZES["gemma-2-9b"]
TWO_LAYERS = replace(NINE_B, model={**NINE_B.model, "num_hidden_layers": 2})
LENGTHS = sample_lengths(8, NINE_B)
BATCH = PackedPreferenceCollator()(make_pairs(LENGTHS, NINE_B))


def varlen(
    query: Tensor, key: Tensor, value: Tensor, *, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, **_: Any
) -> Tensor:
    """What FlashAttention demands of its arguments and gives back."""
    assert {x.dtype for x in (query, key, value)} == {torch.bfloat16}
    assert {x.dtype for x in (cu_seqlens_q, cu_seqlens_k)} == {torch.int32}
    assert {x.device for x in (key, value, cu_seqlens_q, cu_seqlens_k)} == {query.device}
    assert all(x.stride(-1) == 1 for x in (query, key, value))
    return torch.empty_like(query)


ATTENTION: dict[str, Callable[..., Tensor]] = {
    "flash": partial(flash.attend_with, varlen, -1),
    "flex_attention": attention_of("flex_attention"),
    "segments": attention_of("segments"),
}


def model_of(size: Any, device: torch.device) -> PreTrainedModel:
    """Made in bf16, because a fake module cannot be cast."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            model = Gemma2ForCausalLM._from_config(config_of(size), attn_implementation="eager")
    finally:
        torch.set_default_dtype(torch.float32)
    return model.train()


def on(device: torch.device, mode: FakeTensorMode, batch: dict[str, Any]) -> dict[str, Any]:
    """A batch of real tensors, moved as accelerate moves it."""
    return {k: mode.from_tensor(v).to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}


def loss_of(means: Tensor) -> Tensor:
    losses, *_ = simpo_loss(*means.chunk(2), beta=10.0, gamma_beta_ratio=0.5)
    return losses.mean()


def test_mixed_devices_and_questions_for_numbers_raise(one_device):
    """What the other tests rely on."""
    x, on_cpu = torch.ones(3, device=CUDA), torch.ones(3)
    for mixture in (lambda: x + on_cpu, lambda: x[on_cpu.long()], x.cpu):
        with pytest.raises(RuntimeError, match=r"devices|takes tensors of cpu and cuda|makes the CPU wait"):
            mixture()
    for question in (x.sum().item, x.tolist, lambda: bool(x.any()), lambda: x[x > 0]):
        with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
            question()
    on_cpu.to(CUDA)
    assert one_device.copies_to_gpu == 1


@pytest.mark.parametrize("attention", ATTENTION)
def test_the_packed_forward_of_gemma_2_9b(fake, attention, monkeypatch):
    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    model = model_of(NINE_B, CUDA)
    prepare_for_packing(model, longest=NINE_B.max_length, device=CPU)  # on a CPU nothing is probed
    model.base_model._packed_attention = ATTENTION[attention]
    assert fuse_elementwise(model, CUDA)
    batch = on(CUDA, fake, BATCH)
    with torch.inference_mode(), OneDevice() as seen:
        found = packed_logps(model, batch)
        loss = loss_of(found.means)
    assert {x.device.type for x in (*found, loss)} == {"cuda"}
    assert found.means.shape == (2 * len(LENGTHS),)
    assert found.means.dtype == torch.float32
    assert seen.copies_to_gpu <= 1  # the layout


@pytest.mark.parametrize("attention", ["flash", "segments"])
def test_the_padded_forward_with_shared_prompts(fake, attention):
    """DPO's path: padded rows in, padded hidden states out."""
    model = model_of(TWO_LAYERS, CUDA)
    share_prompts(model, longest=NINE_B.max_length, device=CPU)
    model.base_model._packed_attention = ATTENTION[attention]
    width = max(p + max(c, r) for p, c, r in LENGTHS)
    ids = torch.zeros(2 * len(LENGTHS), width, dtype=torch.long, device=CUDA)
    with torch.inference_mode(), OneDevice() as seen:
        found = model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), pair_lengths=LENGTHS)
    assert found.last_hidden_state.shape == (*ids.shape, NINE_B.model["hidden_size"])
    assert seen.copies_to_gpu <= 3  # the layout, and where the tokens of the row come from and go to


class Context:
    """What a function of ours finds in autograd's context."""

    def __init__(self, *needed: bool) -> None:
        self.needs_input_grad = needed

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *_: Tensor) -> None:
        pass


@pytest.mark.parametrize("softcap", [None, 30.0])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])
def test_the_head_backward_of_gemma_2_9b(one_device, softcap, dtype):
    completions = sum(c + r for _, c, r in LENGTHS)
    x = torch.ones(completions, NINE_B.model["hidden_size"], device=CUDA, dtype=dtype)
    weight = torch.ones(NINE_B.model["vocab_size"], NINE_B.model["hidden_size"], device=CUDA, dtype=dtype)
    targets = torch.zeros(completions, dtype=torch.long, device=CUDA)
    context = Context(False, False, False, False, True, True)
    logps, means = head._ChunkedLogps.forward(context, targets, softcap, 16384, 0, x, weight)
    *_, x_grad, weight_grad = head._ChunkedLogps.backward(context, logps, means)
    assert (x_grad.shape, x_grad.dtype, x_grad.device) == (x.shape, x.dtype, x.device)
    assert (weight_grad.shape, weight_grad.dtype, weight_grad.device) == (weight.shape, weight.dtype, weight.device)
    assert one_device.copies_to_gpu == 0


def test_the_backward_of_repeated_prompts(one_device):
    row = layout.SharedPrompts(LENGTHS, CUDA)
    keys = torch.ones(row.tokens, 8, 256, device=CUDA, dtype=torch.bfloat16)
    context = Context(True, False)
    one_device.copies_to_gpu = 0
    repeated = layout._RepeatPrompts.forward(context, keys, row)
    grad, _ = layout._RepeatPrompts.backward(context, repeated)
    assert repeated.shape == (sum(row.key_lengths), 8, 256)
    assert (grad.shape, grad.dtype, grad.device) == (keys.shape, keys.dtype, keys.device)
    assert one_device.copies_to_gpu == 0


@pytest.mark.parametrize("checkpointed", [0, 1], ids=["nothing checkpointed", "a layer checkpointed"])
def test_a_whole_step_asks_for_no_number(fake, checkpointed):
    """With fake CPU tensors, for which autograd's engine needs no device."""
    model = model_of(TWO_LAYERS, CPU)
    prepare_for_packing(model, longest=NINE_B.max_length)
    fuse_elementwise(model, CPU, compiled=False)
    checkpoint_first_layers(model, checkpointed)
    loss_of(packed_logps(model, on(CPU, fake, BATCH)).means).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.shape == parameter.shape, name
