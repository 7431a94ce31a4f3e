"""Training packed is training padded: every logged number, every step, and the weights at the end."""

from __future__ import annotations

import shutil

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from tiny import gemma2, gemma_tokenizer, preference_rows

from alignment import METHODS, SimPOConfig, SimPOTrainer
from alignment.data import tokenize_preference
from alignment.errors import SetupError
from alignment.modeling.flops import peak_flops
from alignment.modeling.logps import padded_logps
from alignment.modeling.packed_forward import packed_logps

LENGTHS = {"max_length": 96, "max_prompt_length": 64}


@pytest.fixture(scope="module")
def tokenizer():
    return gemma_tokenizer()


@pytest.fixture(scope="module")
def tokens(tokenizer):
    rows = [tokenize_preference(row, tokenizer, **LENGTHS) for row in preference_rows(26, longest=30)]
    return Dataset.from_list(rows)


def train(folder, tokens, tokenizer, *, peft=False, method="simpo", resume=False, **changes):
    """Three full steps of 8 pairs and a last one of 2, evaluated at the end."""
    settings = {
        "output_dir": str(folder),
        "use_cpu": True,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "max_grad_norm": 1.0,
        # Adam divides a gradient by its own size: one that is zero but for rounding would give a full update.
        "adam_epsilon": 1e-5,
        **LENGTHS,
        **changes,
    }
    torch.manual_seed(0)
    trainer = METHODS[method].trainer_class()(
        gemma2(seed=7, sliding_window=16),
        METHODS[method].config_class()(**settings),
        train_dataset=tokens,
        eval_dataset=tokens.select(range(7)),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "down_proj", "lm_head"]) if peft else None,
    )
    trainer.train(resume_from_checkpoint=resume)
    trainer.evaluate()
    return trainer


def comparable(trainer) -> list[dict[str, float]]:
    """Every logged number that is about training, not about time; `epoch` counts micro-batches in a short last step."""
    other = ("throughput/", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "epoch")
    return [
        {key: value for key, value in entry.items() if not key.startswith(other)}
        for entry in trainer.state.log_history
        if "loss" in entry or "eval_loss" in entry
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"beta": 10.0, "gamma_beta_ratio": 0.5},
        {"label_smoothing": 0.1, "sft_weight": 0.5, "tokens_per_device": 150},
        {"loss_type": "hinge", "tokens_per_device": 20},
        {"peft": True, "tokens_per_device": 300},
        {"gradient_checkpointing": True},
        {"method": "orpo", "tokens_per_device": 200},
        {"method": "simper", "sft_weight": 0.05},
        {"method": "repo", "gamma": 0.6, "tokens_per_device": 150},
        {"method": "alphapo", "alpha": 0.25},
    ],
    ids=[
        *("one micro-step", "smoothed, supervised, few tokens", "hinge, a pair a row", "LoRA", "checkpointed"),
        *("ORPO", "SimPER", "RePO", "AlphaPO"),
    ],
)
def test_every_step_equals_the_padded_one(tmp_path, tokens, tokenizer, changes):
    padded_changes = {key: value for key, value in changes.items() if key != "tokens_per_device"}
    expected = train(tmp_path, tokens, tokenizer, packing=False, **padded_changes)
    found = train(tmp_path, tokens, tokenizer, packing=True, **changes)
    assert (expected.layout.logps, found.layout.logps) == (padded_logps, packed_logps)
    for mine, theirs in zip(comparable(found), comparable(expected), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    weights = dict(expected.model.named_parameters())
    for name, weight in found.model.named_parameters():
        assert torch.allclose(weight, weights[name], atol=3e-6), name


def test_attention_dropout_is_refused_before_training(tmp_path, tokens, tokenizer):
    def trainer(**changes):
        args = SimPOConfig(str(tmp_path), use_cpu=True, report_to="none", **LENGTHS, **changes)
        model = gemma2(attention_dropout=0.1)
        return SimPOTrainer(model, args, train_dataset=tokens, processing_class=tokenizer)

    told = "disable_dropout False leaves an attention dropout of 0.1.*set disable_dropout: true, or packing: false"
    with pytest.raises(SetupError, match=told):
        trainer(disable_dropout=False)
    assert trainer(disable_dropout=True).layout.logps == packed_logps
    assert trainer(disable_dropout=False, packing=False).layout.logps == padded_logps


def test_a_step_accumulates_what_the_budget_demands(tmp_path, tokens, tokenizer):
    trainer = train(tmp_path, tokens, tokenizer, tokens_per_device=150)
    longest = max(sum(len(row[part]) for part in ("prompt_ids", "chosen_ids", "rejected_ids")) for row in tokens)
    assert longest < 150
    facts = trainer.batch_facts
    assert facts["global_batch_size"] == 8
    assert trainer.state.global_step == 4
    steps = list(trainer.get_train_dataloader())
    assert max(batch["input_ids"].numel() for step in steps for batch in step) == facts["largest_micro_batch"] <= 150
    counts = [len(step) for step in steps]
    assert (max(counts), min(counts)) == (facts["micro_batches"], facts["fewest_micro_batches"])
    assert counts[0] > 4 > counts[-1], "the last step has 2 pairs instead of 8"


@pytest.mark.parametrize("changes", [{}, {"tokens_per_device": 20}], ids=["one micro-step", "a pair a micro-step"])
def test_every_log_says_how_fast_the_step_was(tmp_path, tokens, tokenizer, changes):
    """A pair a row makes 8 micro-steps of every step, and 2 of the last."""
    trainer = train(tmp_path, tokens, tokenizer, **changes)
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    for entry, pairs in zip(steps, (8, 8, 8, 2), strict=True):
        seconds = pairs / entry["throughput/pairs_per_second"]
        assert 0 < seconds < 60
        assert 0 < entry["throughput/padding_avoided"] < 1
        assert entry["throughput/peak_memory_gib"] > 0.05
        assert "throughput/mfu" not in entry
    sizes = [sum(len(row[part]) for part in ("prompt_ids", "chosen_ids", "rejected_ids")) for row in tokens]
    processed = sum(
        e["throughput/tokens_per_second"] * n / e["throughput/pairs_per_second"]
        for e, n in zip(steps, (8, 8, 8, 2), strict=True)
    )
    assert processed == pytest.approx(sum(sizes), rel=1e-3)


def test_gradient_checkpointing_auto(tmp_path, tokens, tokenizer):
    """On a CPU nothing is rationed; padded rows have no budget, so `auto` is every layer there."""
    packed = train(tmp_path, tokens, tokenizer, gradient_checkpointing="auto", max_steps=1)
    padded = train(tmp_path, tokens, tokenizer, gradient_checkpointing="auto", max_steps=1, packing=False)
    assert [layer.gradient_checkpointing for layer in packed.model.model.layers] == [False, False]
    assert [layer.gradient_checkpointing for layer in padded.model.model.layers] == [True, True]


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H200", 989),
        ("NVIDIA GeForce RTX 4090", 165),
        ("NVIDIA L4", 121),
    ],
)
def test_peaks_by_the_drivers_names(name, teraflops):
    assert peak_flops(name) == teraflops * 1e12
    assert peak_flops("NVIDIA Unheard-of 9000") is None


def test_a_resumed_run_counts_steps_whatever_they_are_made_of(tmp_path, tokens, tokenizer):
    """Five or more micro-batches a step and two in the last: begun again after step 3 of 8, nothing is lost."""
    settings = {"tokens_per_device": 150, "num_train_epochs": 2, "save_strategy": "steps", "save_steps": 3}
    whole = train(tmp_path / "whole", tokens, tokenizer, **settings)
    for checkpoint in ("checkpoint-6", "checkpoint-8"):
        shutil.rmtree(tmp_path / "whole" / checkpoint)
    resumed = train(tmp_path / "whole", tokens, tokenizer, resume=True, **settings)
    losses = [[entry["loss"] for entry in trainer.state.log_history if "loss" in entry] for trainer in (whole, resumed)]
    assert len(losses[0]) == 8 and losses[0] == losses[1]
    assert all(map(torch.equal, whole.model.parameters(), resumed.model.parameters()))
