"""Packed rows with shared prompts give the losses, metrics and gradients of two padded rows a pair."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from packing_models import CONFIGS, KeepDouble, build, distance, gradients, packed, padded, random_pairs

from alignment.losses import simpo_loss
from alignment.modeling.attention import layout as layouts
from alignment.modeling.attention import segments
from alignment.modeling.logps import CompletionLogps, padded_logps
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing

PRECISIONS = {torch.float32: 1e-5, torch.float64: 1e-12}


def loss_of(logps: CompletionLogps, *, sft_weight: float = 0.3, **changes) -> torch.Tensor:
    """Every term a recipe can ask for."""
    settings = {"beta": 2.0, "gamma_beta_ratio": 0.5, "label_smoothing": 0.1, **changes}
    losses, *_ = simpo_loss(*logps.means.chunk(2), **settings)
    return losses.mean() - sft_weight * logps.sums.chunk(2)[0].sum() / logps.counts.chunk(2)[0].sum()


def result(model, logps: CompletionLogps, **changes) -> dict[str, torch.Tensor]:
    loss = loss_of(logps, **changes)
    return {
        "loss": loss.detach(),
        **{name: getattr(logps, name).detach().clone() for name in logps._fields},
        **gradients(model, loss),
    }


def both(name: str, pairs, *, dtype=torch.float32, **changes) -> tuple[dict, dict]:
    model = build(name, dtype=dtype)
    with KeepDouble() if dtype == torch.float64 else nullcontext():
        expected = result(model, padded_logps(model, padded(pairs)), **changes)
        assert prepare_for_packing(model) == "segments"
        return result(model, packed_logps(model, packed(pairs)), **changes), expected


@pytest.mark.parametrize("dtype", PRECISIONS, ids=["fp32", "fp64"])
@pytest.mark.parametrize("name", CONFIGS)
def test_loss_metrics_and_gradients_equal_the_padded_computation(name, dtype):
    found, expected = both(name, random_pairs(9), dtype=dtype)
    assert distance(found, expected) < PRECISIONS[dtype]


@pytest.mark.parametrize("seed", range(6))
def test_random_lengths(seed):
    pairs = random_pairs(1 + 3 * seed, seed=seed, longest=4 + 10 * seed)
    found, expected = both("gemma2, narrow", pairs, dtype=torch.float64)
    assert distance(found, expected) < 1e-12


@pytest.mark.parametrize("changes", [{"loss_type": "hinge"}, {"label_smoothing": 0.0, "sft_weight": 0.0}], ids=str)
def test_other_losses(changes):
    found, expected = both("llama", random_pairs(5), dtype=torch.float64, **changes)
    assert distance(found, expected) < 1e-12


def test_pairs_of_a_row_do_not_feel_each_other():
    """One row of nine pairs, nine rows of one, and two unequal rows: the same sums and the same gradients."""
    pairs = random_pairs(9)
    model = build("gemma2, narrow", dtype=torch.float64)
    prepare_for_packing(model)

    def split(*rows: slice) -> dict[str, torch.Tensor]:
        total = sum(packed_logps(model, packed(pairs[row])).means.sum() for row in rows)
        return {"total": total.detach(), **gradients(model, total)}

    with KeepDouble():
        whole = split(slice(None))
        assert distance(split(*(slice(i, i + 1) for i in range(9))), whole) < 1e-12
        assert distance(split(slice(0, 2), slice(2, 9)), whole) < 1e-12


def test_checkpointed_layers_give_the_same_gradients():
    """A checkpointed layer is computed again in the backward pass, when no packed call is under way."""
    pairs, model = random_pairs(6), build("gemma2, narrow")
    prepare_for_packing(model)
    expected = result(model, packed_logps(model, packed(pairs)))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    assert distance(result(model, packed_logps(model, packed(pairs))), expected) < 1e-6


def test_evaluation_equals_training_mode_and_leaves_no_graph():
    pairs, model = random_pairs(4), build("gemma2")
    prepare_for_packing(model)
    trained = packed_logps(model, packed(pairs))
    model.eval()
    with torch.no_grad():
        evaluated = packed_logps(model, packed(pairs))
    assert torch.equal(trained.sums, evaluated.sums)
    assert not evaluated.sums.requires_grad


@pytest.mark.parametrize("name", ["gemma2, narrow", "mistral", "qwen3"])
def test_changing_the_chosen_completion_leaves_the_rejected_one_untouched_bit_for_bit(name):
    pairs, model = random_pairs(5, longest=30), build(name)
    prepare_for_packing(model)
    other = [{**pair, "chosen_ids": [(token + 11) % 300 + 3 for token in pair["chosen_ids"]]} for pair in pairs]
    with torch.no_grad():
        before, after = (packed_logps(model, packed(version)) for version in (pairs, other))
    assert torch.equal(before.sums[5:], after.sums[5:])
    assert (before.sums[:5] != after.sums[:5]).all()


def test_a_mask_that_shows_the_chosen_completion_is_caught(monkeypatch):
    """Negative control: the comparison above does fail when rejected tokens see chosen ones."""
    pairs = random_pairs(5)

    def causal(query, key, value, layout, scores):
        everything = layouts.SharedPrompts([(layout.tokens - 2, 1, 1)], layout.device)
        everything.query_lengths = everything.key_lengths = [layout.tokens]
        monkeypatch.setattr(segments, "repeat_prompts", lambda x, _: x)
        return own(query, key, value, everything, scores)

    own = segments.attend
    monkeypatch.setattr(segments, "attend", causal)
    found, expected = both("llama", pairs)
    assert distance({"sums": found["sums"]}, {"sums": expected["sums"]}) > 1e-2


def test_positions_that_run_on_are_caught():
    """Negative control: so it does when the rejected completion's positions do not restart."""
    pairs, model = random_pairs(5), build("llama")
    expected = padded_logps(model, padded(pairs)).sums
    prepare_for_packing(model)
    batch = packed(pairs)
    batch["position_ids"] = torch.arange(batch["input_ids"].shape[1])[None]
    assert (packed_logps(model, batch).sums - expected).norm() / expected.norm() > 1e-3
