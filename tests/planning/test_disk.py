"""Room on the disk is asked for before training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainingArguments

from alignment.errors import SetupError
from alignment.planning.disk import check_room, checkpoint_bytes, checkpoints_kept, final_bytes

SLACK = 40 * 2**20


def args(tmp_path, **changes) -> TrainingArguments:
    return TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", **changes)


def test_a_checkpoint_holds_weights_and_two_moments(tmp_path):
    """One million fp32 parameters: 4 MB of weights and 8 MB of Adam's moments."""
    model = torch.nn.Linear(1000, 1000, bias=False)
    assert checkpoint_bytes(model, args(tmp_path)) == pytest.approx(12e6 + SLACK)
    assert checkpoint_bytes(model, args(tmp_path, optim="adamw_bnb_8bit")) == pytest.approx(6e6 + SLACK)


def test_the_final_model_is_saved_in_the_precision_of_training(tmp_path):
    """A million weights are 2 MB in bf16, whether they are held in fp32 or as 4-bit weights, two a byte."""
    model = torch.nn.Linear(1000, 1000, bias=False)
    assert final_bytes(model, args(tmp_path, bf16=True)) == pytest.approx(2e6 + SLACK)
    model.weight = torch.nn.Parameter(torch.zeros(500_000, 1, dtype=torch.uint8), requires_grad=False)
    model.weight.quant_state = SimpleNamespace(shape=(1000, 1000))  # as bitsandbytes keeps it
    assert final_bytes(model, args(tmp_path, bf16=True)) == pytest.approx(2e6 + SLACK)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"save_strategy": "steps", "save_steps": 100}, 4),
        ({"save_strategy": "steps", "save_steps": 100, "save_total_limit": 2}, 3),
        ({"save_strategy": "steps", "save_steps": 0.25}, 3),
        ({"save_strategy": "epoch", "num_train_epochs": 3}, 2),
        (
            {"save_strategy": "epoch", "num_train_epochs": 3, "load_best_model_at_end": True, "eval_strategy": "epoch"},
            3,
        ),
        ({"save_strategy": "no"}, 1),
    ],
)
def test_checkpoints_that_lie_on_the_disk_together(tmp_path, changes, kept):
    assert checkpoints_kept(args(tmp_path, **changes), steps=460) == kept


def test_the_clock_keeps_what_the_limit_allows(tmp_path):
    assert checkpoints_kept(args(tmp_path, save_strategy="no", save_total_limit=1), steps=460, by_time=True) == 2


def test_a_run_that_does_not_fit_is_refused_with_the_numbers(tmp_path):
    model = torch.nn.Linear(10**6, 10**8, bias=False, device="meta")  # 100 trillion parameters
    with pytest.raises(SetupError) as refused:
        check_room(tmp_path, model, args(tmp_path, bf16=True, save_strategy="steps", save_steps=100), steps=460)
    assert "4 checkpoints of 1117587" in str(refused.value)
    assert "are there; make room, choose another --output_dir, or lower save_total_limit" in str(refused.value)


def test_a_run_that_fits_is_not(tmp_path):
    check_room(tmp_path, torch.nn.Linear(10, 10), args(tmp_path, bf16=True), steps=460)
