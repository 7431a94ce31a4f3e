"""What a config carries when it is made in Python with nothing but a folder."""

from __future__ import annotations

import pytest

from alignment import ORPOConfig, SimPOConfig
from alignment.trainers import config as module


@pytest.mark.parametrize(("config", "rate"), [(SimPOConfig, 1e-6), (ORPOConfig, 8e-6)])
def test_the_fields_defaults(tmp_path, config, rate):
    args = config(output_dir=str(tmp_path))
    assert args.learning_rate == rate
    assert args.num_train_epochs == 1
    assert args.lr_scheduler_type == "cosine"
    assert args.get_warmup_steps(200) == 20
    assert args.logging_nan_inf_filter is False  # it would wait for the GPU in every micro-step


@pytest.mark.parametrize(
    ("able", "stated", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"fp16": True}, False),
        (True, {"use_cpu": True}, False),
        (True, {"bf16": False}, False),
        (False, {"bf16": True, "use_cpu": True}, True),
    ],
)
def test_bf16_where_the_device_can(tmp_path, monkeypatch, able, stated, expected):
    monkeypatch.setattr(module, "computes_bf16", lambda: able)
    monkeypatch.setattr("transformers.TrainingArguments.__post_init__", lambda self: None)
    assert SimPOConfig(output_dir=str(tmp_path), **stated).bf16 is expected
