"""The trainer against the reference's mathematics written out in a plain loop."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from tiny import gemma2, gemma_tokenizer, preference_rows
from transformers import Trainer, TrainingArguments, get_scheduler

from alignment import ORPOConfig, ORPOTrainer, SimPOConfig, SimPOTrainer
from alignment.data import tokenize_preference

ROWS = preference_rows(40)
LENGTHS = {"max_length": 96, "max_prompt_length": 64}


@pytest.fixture(scope="module")
def tokenizer():
    return gemma_tokenizer()


@pytest.fixture(scope="module")
def tokens(tokenizer):
    return [tokenize_preference(row, tokenizer, **LENGTHS) for row in ROWS]


def config(tmp_path: Path, **changes) -> SimPOConfig:
    settings = {
        "output_dir": str(tmp_path),
        "use_cpu": True,
        "packing": False,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 1,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "beta": 10.0,
        "gamma_beta_ratio": 0.5,
        **LENGTHS,
    }
    return SimPOConfig(**{**settings, **changes})


def transformers_order(rows: int, tmp_path: Path) -> list[int]:
    """The order in which a plain Trainer with the same seed visits its rows."""

    class Spy(Trainer):
        def get_train_dataloader(self):
            return super().get_train_dataloader()

    args = TrainingArguments(str(tmp_path), use_cpu=True, per_device_train_batch_size=1, report_to="none", seed=42)
    data = Dataset.from_dict({"row": list(range(rows))})
    args.remove_unused_columns = False
    trainer = Spy(torch.nn.Linear(1, 1), args, train_dataset=data, data_collator=lambda batch: batch[0]["row"])
    return list(trainer.get_train_dataloader())


def mean_logp(model, prompt: list[int], completion: list[int]) -> torch.Tensor:
    ids = torch.tensor([prompt + completion])
    logps = model(input_ids=ids).logits.float().log_softmax(-1)[0, :-1]
    return logps.gather(1, ids[0, 1:, None])[len(prompt) - 1 :, 0].mean()


def reference_run(tokens, order, *, beta, ratio, smoothing, sft_weight, hinge, clip, per_step=8, steps=5, lr=1e-3):
    """One row at a time, no padding, no batching: losses, gradient norms and rewards of every step."""
    model = gemma2(seed=7)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=1, num_training_steps=steps)
    log = []
    for step in range(steps):
        pairs = [tokens[row] for row in order[step * per_step : (step + 1) * per_step]]
        tokens_of_step = sum(len(pair["chosen_ids"]) for pair in pairs)
        losses, chosen_rewards, rejected_rewards = [], [], []
        for pair in pairs:
            chosen = mean_logp(model, pair["prompt_ids"], pair["chosen_ids"])
            rejected = mean_logp(model, pair["prompt_ids"], pair["rejected_ids"])
            z = beta * (chosen - rejected - ratio)
            loss = -(1 - smoothing) * F.logsigmoid(z) - smoothing * F.logsigmoid(-z)
            loss = torch.relu(1 - z) if hinge else loss
            nll = -chosen * len(pair["chosen_ids"]) / tokens_of_step
            losses.append(loss / per_step + sft_weight * nll)
            chosen_rewards.append(beta * chosen.item())
            rejected_rewards.append(beta * rejected.item())
        sum(losses).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip or math.inf)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        log.append((sum(losses).item(), norm.item(), sum(chosen_rewards) / per_step, sum(rejected_rewards) / per_step))
    return log, model


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({}, {}),
        ({"label_smoothing": 0.1, "max_grad_norm": 0.0}, {"smoothing": 0.1, "clip": 0.0}),
        ({"loss_type": "hinge", "beta": 2.0}, {"hinge": True, "beta": 2.0}),
        ({"sft_weight": 0.5, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, {"sft_weight": 0.5}),
    ],
    ids=["sigmoid", "smoothed, unclipped", "hinge", "with the supervised term"],
)
def test_every_step_equals_the_plain_loop(tmp_path, tokenizer, tokens, changes, reference):
    defaults = {"beta": 10.0, "ratio": 0.5, "smoothing": 0.0, "sft_weight": 0.0, "hinge": False, "clip": 1.0}
    expected, expected_model = reference_run(tokens, transformers_order(40, tmp_path), **{**defaults, **reference})
    model = gemma2(seed=7)
    trainer = SimPOTrainer(
        model, config(tmp_path, **changes), train_dataset=Dataset.from_list(tokens), processing_class=tokenizer
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    seen = [(e["loss"], e["grad_norm"], e["rewards/chosen"], e["rewards/rejected"]) for e in logged]
    assert torch.allclose(torch.tensor(seen), torch.tensor(expected), rtol=1e-5, atol=1e-5)
    for (name, mine), theirs in zip(model.named_parameters(), expected_model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=2e-5), name


def test_message_rows_and_token_rows_train_alike(tmp_path, tokenizer, tokens):
    def losses(dataset):
        trainer = SimPOTrainer(
            gemma2(seed=7), config(tmp_path, max_steps=2), train_dataset=dataset, processing_class=tokenizer
        )
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    assert losses(Dataset.from_list(ROWS)) == losses(Dataset.from_list(tokens))


def test_a_short_last_step_averages_over_its_own_pairs(tmp_path, tokenizer, tokens):
    """11 pairs, 8 a step: the second step is the mean over 3 pairs in unequal micro-batches of 2 and 1."""
    args = config(tmp_path, learning_rate=0.0, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    data = Dataset.from_list(tokens[:11])
    trainer = SimPOTrainer(gemma2(seed=7), args, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    model, order = gemma2(seed=7), transformers_order(11, tmp_path)
    expected = []
    for rows in (order[:8], order[8:]):
        margins = [
            mean_logp(model, tokens[row]["prompt_ids"], tokens[row]["chosen_ids"])
            - mean_logp(model, tokens[row]["prompt_ids"], tokens[row]["rejected_ids"])
            for row in rows
        ]
        expected.append(-F.logsigmoid(10.0 * (torch.stack(margins) - 0.5)).mean().item())
    assert logged == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 40])
def test_evaluation_is_a_mean_over_pairs_whatever_the_batches(tmp_path, tokenizer, tokens, batch_size):
    args = config(tmp_path, per_device_eval_batch_size=batch_size, sft_weight=0.3)
    data = Dataset.from_list(tokens)
    model = gemma2(seed=7)
    metrics = SimPOTrainer(model, args, eval_dataset=data, processing_class=tokenizer).evaluate()
    with torch.no_grad():
        chosen = torch.stack([mean_logp(model, t["prompt_ids"], t["chosen_ids"]) for t in tokens])
        rejected = torch.stack([mean_logp(model, t["prompt_ids"], t["rejected_ids"]) for t in tokens])
    lengths = torch.tensor([float(len(t["chosen_ids"])) for t in tokens])
    nll = -(chosen * lengths).sum() / lengths.sum()
    loss = -F.logsigmoid(10.0 * (chosen - rejected - 0.5)).mean() + 0.3 * nll
    assert metrics["eval_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert metrics["eval_rewards/margins"] == pytest.approx(10 * (chosen - rejected).mean().item(), rel=1e-4)
    assert metrics["eval_rewards/accuracies"] == pytest.approx((chosen > rejected).float().mean().item())
    assert metrics["eval_logps/rejected"] == pytest.approx(rejected.mean().item(), rel=1e-5)
    assert metrics["eval_lengths/chosen"] == pytest.approx(lengths.mean().item())


def test_orpo_is_likelihood_plus_odds_ratio(tmp_path, tokenizer, tokens):
    args = ORPOConfig(output_dir=str(tmp_path), use_cpu=True, report_to="none", packing=False, beta=0.2, **LENGTHS)
    model = gemma2(seed=7)
    data = Dataset.from_list(tokens[:8])
    metrics = ORPOTrainer(model, args, eval_dataset=data, processing_class=tokenizer).evaluate()
    with torch.no_grad():
        chosen = torch.stack([mean_logp(model, t["prompt_ids"], t["chosen_ids"]) for t in tokens[:8]])
        rejected = torch.stack([mean_logp(model, t["prompt_ids"], t["rejected_ids"]) for t in tokens[:8]])
    lengths = torch.tensor([float(len(t["chosen_ids"])) for t in tokens[:8]])
    odds = [torch.log(p.exp() / (1 - p.exp())) for p in (chosen, rejected)]
    expected = -(chosen * lengths).sum() / lengths.sum() - 0.2 * F.logsigmoid(odds[0] - odds[1]).mean()
    assert metrics["eval_loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_padding_is_told_by_the_mask_not_by_the_id(tmp_path, tokenizer, tokens):
    """The metrics of a batch do not move when the pad id is one that completions use."""
    args = config(tmp_path, per_device_eval_batch_size=8)
    data, model = Dataset.from_list(tokens[:8]), gemma2(seed=7)
    expected = SimPOTrainer(model, args, eval_dataset=data, processing_class=tokenizer).evaluate()
    shared = gemma_tokenizer()
    shared.pad_token = shared.eos_token
    seen = SimPOTrainer(model, args, eval_dataset=data, processing_class=shared).evaluate()
    for name in ("eval_loss", "eval_logps/chosen", "eval_logits/chosen", "eval_lengths/rejected"):
        assert seen[name] == pytest.approx(expected[name], rel=1e-6), name


def test_the_collator_lays_out_the_worked_example():
    from alignment.data.padded_batches import PaddedPreferenceCollator

    pair = {"prompt_ids": [5, 6], "chosen_ids": [7, 8], "rejected_ids": [9], "weight": 1.0, "index": 3}
    batch = PaddedPreferenceCollator(0)([pair])
    assert batch.pop("pair_lengths") == [(2, 2, 1)]
    assert {name: value.tolist() for name, value in batch.items()} == {
        "input_ids": [[5, 6, 7, 8], [5, 6, 9, 0]],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 1, 0]],
        "predictor_index": [1, 2, 5],
        "targets": [7, 8, 9],
        "target_rows": [0, 0, 1],
        "weight": [1.0],
        "index": [3],
    }


def test_the_order_is_transformers_own(tmp_path):
    from alignment.data.sampler import StepSampler, even_plan

    sampler = StepSampler(num_rows=37, global_batch_size=8, plan=even_plan(8), seed=42)
    assert [row for batch in sampler for row, _ in batch] == transformers_order(37, tmp_path)
