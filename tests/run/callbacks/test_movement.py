"""A run that left every weight as it was does not count as trained."""

from __future__ import annotations

import pytest
from datasets import Dataset
from tiny import gemma2, gemma_tokenizer, preference_rows

from alignment import SimPOConfig, SimPOTrainer
from alignment.run.callbacks.movement import NothingTrained, WeightsMove


def train(folder, **settings):
    tokenizer = gemma_tokenizer()
    args = SimPOConfig(
        output_dir=str(folder), use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True, bf16=False,
        max_steps=2, max_length=96, max_prompt_length=48, warmup_steps=0, logging_steps=1, **settings,
    )  # fmt: skip
    rows = Dataset.from_list(preference_rows(8))
    trainer = SimPOTrainer(gemma2(len(tokenizer)), args, train_dataset=rows, processing_class=tokenizer)
    trainer.add_callback(WeightsMove())
    trainer.train()


def test_weights_that_move_are_no_fault(tmp_path):
    train(tmp_path, learning_rate=1e-3)


def test_a_rate_of_zero_trains_nothing(tmp_path):
    with pytest.raises(NothingTrained, match=r"changed no weight in 2 steps: it was 0 in every step"):
        train(tmp_path, learning_rate=0.0)
