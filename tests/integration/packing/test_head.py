"""Chunked log-probabilities against the plain computation, and heads that take targets."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from alignment.errors import SetupError
from alignment.modeling import chunked_logps as head
from alignment.modeling.chunked_logps import chunked_logps
from alignment.modeling.output_head import TargetLinear, accept_targets


def plain_logps(terms, targets, softcap):
    """The naive computation in the terms' own dtype up to the softmax, as transformers' models have it."""
    logits = sum(x @ weight.t() for x, weight in terms)
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0], logits.mean(-1)


def example(tokens=23, hidden=12, vocabulary=101, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, hidden, generator=generator, dtype=torch.float64) * 2
    weight = torch.randn(vocabulary, hidden, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, vocabulary, (tokens,), generator=generator)
    outer = torch.randn(tokens, generator=generator, dtype=torch.float64)
    return x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_(), targets, outer


def test_worked_by_hand():
    """Logits (0, ln 3) give probabilities 1/4 and 3/4; the mean logit is ln(3) / 2."""
    logps, means = chunked_logps([(torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(3)]]))], torch.tensor([1]))
    assert logps.tolist() == pytest.approx([math.log(0.75)])
    assert means.tolist() == pytest.approx([math.log(3) / 2])


@pytest.mark.parametrize("block", [1, 7, 100, 101, 5000, None])
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_every_block_size_gives_the_plain_values_and_gradients(block, softcap):
    x, weight, targets, outer = example()
    expected, expected_means = plain_logps([(x, weight)], targets, softcap)
    expected_grads = torch.autograd.grad((expected * outer).sum(), (x, weight))
    found, means = chunked_logps([(x, weight)], targets, softcap=softcap, block=block)
    grads = torch.autograd.grad((found * outer).sum(), (x, weight))
    assert not means.requires_grad
    for mine, plain in zip((found, means, *grads), (expected, expected_means, *expected_grads), strict=True):
        assert torch.allclose(mine, plain, rtol=1e-12, atol=1e-12)


def test_blocks_that_are_kept_and_blocks_that_are_built_again_give_the_same(monkeypatch):
    """Two of the seven blocks fit; a second backward pass finds none and builds them all."""
    x, weight, targets, outer = example(dtype=torch.float32)
    grads = []
    for kept in (0, 2 * 15 * 4 * len(targets)):
        monkeypatch.setitem(head.KEPT_BYTES, "cpu", kept)
        logps, _ = chunked_logps([(x, weight)], targets, softcap=3.0, block=15)
        for _ in range(2):
            grads.append(torch.autograd.grad((logps * outer.float()).sum(), (x, weight), retain_graph=True))
    for mine in grads[1:]:
        assert all(torch.equal(a, b) for a, b in zip(mine, grads[0], strict=True))


def test_several_terms_and_frozen_weights():
    """LoRA's term and a bias add to the logits; a frozen base weight gets no gradient and costs none."""
    x, weight, targets, outer = example()
    reduced, lora, *_ = example(hidden=3, seed=1)
    ones, bias = torch.ones(23, 1, dtype=torch.float64), torch.randn(101, 1, dtype=torch.float64, requires_grad=True)
    terms = [(x, weight.detach()), (reduced, lora), (ones, bias)]
    wanted = (x, reduced, lora, bias)
    expected = torch.autograd.grad((plain_logps(terms, targets, 3.0)[0] * outer).sum(), wanted)
    found = torch.autograd.grad((chunked_logps(terms, targets, softcap=3.0, block=9)[0] * outer).sum(), wanted)
    for mine, plain in zip(found, expected, strict=True):
        assert torch.allclose(mine, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("softcap", [None, 30.0])
def test_bf16_error_is_no_worse_than_the_plain_bf16_computation(softcap):
    """Against fp64 from the same bf16 inputs: log-probabilities, hidden gradients and weight gradients."""
    x, weight, targets, outer = example(tokens=64, hidden=48, vocabulary=1000, dtype=torch.bfloat16)
    precise = [t.detach().double().requires_grad_() for t in (x, weight)]

    def values(inputs, function):
        logps = function([tuple(inputs)], targets, softcap=softcap)[0]
        return logps, *torch.autograd.grad((logps * outer.to(logps.dtype)).sum(), inputs)

    truth = values(precise, plain_logps)
    plain = values((x, weight), plain_logps)
    ours = values((x, weight), lambda *a, **k: chunked_logps(*a, block=128, **k))
    for name, exact, theirs, mine in zip(("logps", "x", "weight"), truth, plain, ours, strict=True):
        error, plain_error = ((side.double() - exact).norm().item() for side in (mine, theirs))
        assert error <= 1.02 * plain_error, name


def test_autocast_computes_in_its_own_dtype_and_returns_gradients_in_the_weights():
    x, weight, targets, outer = example(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        logps, _ = chunked_logps([(x, weight)], targets, softcap=30.0)
    (logps * outer).sum().backward()
    assert logps.dtype == x.grad.dtype == weight.grad.dtype == torch.float32
    exact = plain_logps([(x, weight)], targets, 30.0)[0]
    plain = plain_logps([(x.bfloat16(), weight.bfloat16())], targets, 30.0)[0]
    assert 0 < (logps - exact).norm() <= (plain - exact).norm()


def test_a_certain_token_never_has_a_positive_log_probability():
    weight = torch.eye(4, dtype=torch.bfloat16) * 30
    logps, _ = chunked_logps([(torch.eye(4, dtype=torch.bfloat16)[:1], weight)], torch.tensor([0]), block=1)
    assert -1e-6 < logps.item() <= 0


def test_a_swapped_head_is_the_same_module_with_the_same_logits():
    linear = nn.Linear(6, 11, bias=True)
    x, weight = torch.randn(5, 6), linear.weight
    logits = linear(x)
    accept_targets(linear)
    assert isinstance(linear, TargetLinear) and linear.weight is weight
    assert torch.equal(linear(x), logits)
    targets = torch.tensor([0, 10, 3, 3, 7])
    expected = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert torch.allclose(linear(x, targets=targets)[0], expected, atol=1e-6)


def test_a_head_that_is_not_linear_is_refused():
    with pytest.raises(SetupError, match=r"output head is a Sequential.*packing: false"):
        accept_targets(nn.Sequential(nn.Linear(2, 3)))


@pytest.mark.slow
def test_a_vocabulary_of_256k_takes_under_700_mib():
    script = Path(__file__).with_name("measure_head.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 700
