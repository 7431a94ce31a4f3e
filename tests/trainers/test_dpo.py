"""DPO with shared prompts against TRL's own computation of the same batches."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from tiny import gemma2, gemma_tokenizer, preference_rows
from transformers import AutoModelForCausalLM

from alignment.modeling.paired_forward import lengths_in, row_indices
from alignment.trainers.dpo import DPOTrainer, preference_collator
from alignment.trainers.dpo_config import DPOConfig

SPEED = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos"}
SPEED |= {f"eval_{name}" for name in ("runtime", "samples_per_second", "steps_per_second")}


def preferences(count: int, longest: int = 24) -> Dataset:
    """Rows as TRL takes them: the prompt's messages, and the completions'."""
    rows = preference_rows(count, longest=longest)
    return Dataset.from_list(
        [{"prompt": r["chosen"][:1], "chosen": r["chosen"][1:], "rejected": r["rejected"][1:]} for r in rows]
    )


def config(folder, **changes) -> DPOConfig:
    settings = {
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
        "max_steps": 3,
        "learning_rate": 0.3,
        "optim": "sgd",
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "beta": 0.5,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    return DPOConfig(output_dir=str(folder / "out"), **settings | changes)


def trained(folder, lora: bool, **changes) -> DPOTrainer:
    """Three optimizer steps of six pairs and an evaluation, from the model in `folder`."""
    rows = preferences(22, longest=30)
    model = AutoModelForCausalLM.from_pretrained(folder / "model", attn_implementation="eager")
    torch.manual_seed(0)
    trainer = DPOTrainer(
        model,
        config(folder, **changes),
        processing_class=gemma_tokenizer(),
        train_dataset=rows.select(range(18)),
        eval_dataset=rows.select(range(18, 22)),
        peft_config=LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False) if lora else None,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("lora", "changes"),
    [
        (False, {}),
        (True, {"loss_type": ["ipo"]}),
        (False, {"precompute_ref_log_probs": True}),
        (False, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}),
        (
            False,
            {"use_weighting": True, "sync_ref_model": True, "ref_model_sync_steps": 1, "dataloader_num_workers": 2},
        ),
        (False, {"loss_type": ["sigmoid_norm"]}),
        (False, {"loss_type": ["apo_zero"]}),
        (False, {"loss_type": ["robust"], "label_smoothing": 0.1, "ld_alpha": 0.5}),
        (True, {"gradient_checkpointing": True, "max_length": 40}),
        (False, {"max_length": 40, "truncation_mode": "keep_end", "pad_to_multiple_of": 16}),
    ],
    ids=[
        "sigmoid",
        "lora, ipo",
        "reference in advance",
        "mixed",
        "weighted, moving reference",
        "length-normalized",
        "APO-zero",
        "robust",
        "cut",
        "cut at the front",
    ],
)
def test_every_logged_number_and_the_weights_equal_trls(tmp_path, lora, changes):
    gemma2(len(gemma_tokenizer()), sliding_window=20).save_pretrained(tmp_path / "model")
    theirs, ours = (trained(tmp_path, lora, packing=packing, **changes) for packing in (False, True))
    assert ours.attention_backend == "segments"
    assert len(ours.state.log_history) == len(theirs.state.log_history) == 5
    for expected, found in zip(theirs.state.log_history, ours.state.log_history, strict=True):
        speed = {name for name in found if name.startswith("throughput/")}
        assert expected.keys() == found.keys() - speed and bool(speed) == ("loss" in found)
        for name in expected.keys() - SPEED:
            assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name
    weights = dict(theirs.model.named_parameters())
    for name, mine in ours.model.named_parameters():
        assert torch.allclose(mine, weights[name], rtol=1e-4, atol=1e-5), name


def test_the_transformer_sees_every_prompt_once_and_no_padding(tmp_path):
    gemma2(len(gemma_tokenizer())).save_pretrained(tmp_path / "model")
    rows = preferences(4)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="eager")
    trainer = DPOTrainer(
        model, config(tmp_path, eval_strategy="no"), processing_class=gemma_tokenizer(), train_dataset=rows
    )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    seen: dict[str, list[int]] = {"policy": [], "reference": []}
    for name, watched in (("policy", trainer.model), ("reference", trainer.ref_model)):
        layer = watched.base_model.layers[0]
        layer.register_forward_hook(lambda module, args, output, name=name: seen[name].append(args[0].shape[1]))
    batch = trainer._prepare_inputs(batch)
    trainer.compute_loss(trainer.model, batch)
    tokens = sum(sum(lengths) for lengths in batch["pair_lengths"])
    assert seen == {"policy": [tokens], "reference": [tokens]}
    assert tokens < batch["attention_mask"].sum() < batch["input_ids"].numel()


def test_reference_log_probabilities_come_from_the_same_rows(tmp_path):
    gemma2(len(gemma_tokenizer())).save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="eager")
    arguments = config(tmp_path, eval_strategy="no", precompute_ref_log_probs=True)
    rows = preferences(3, longest=9)
    trainer = DPOTrainer(model, arguments, processing_class=gemma_tokenizer(), train_dataset=rows)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(3)])
    shared = trainer.compute_ref_log_probs(trainer.model, batch)
    padded = trainer.compute_ref_log_probs(trainer.model, {k: v for k, v in batch.items() if k != "pair_lengths"})
    for side, mine, theirs in zip(("chosen", "rejected"), shared, padded, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-5)
        assert torch.equal(mine, batch[f"ref_{side}_logps"])


def test_attention_dropout_is_disabled_in_both_models(tmp_path):
    gemma2(len(gemma_tokenizer()), attention_dropout=0.1).save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="eager")
    arguments = config(tmp_path, eval_strategy="no")
    trainer = DPOTrainer(model, arguments, processing_class=gemma_tokenizer(), train_dataset=preferences(4))
    for policy in (trainer.model, trainer.ref_model):
        assert [layer.self_attn.attention_dropout for layer in policy.base_model.layers] == [0.0, 0.0]


def test_a_collator_of_ones_own_is_used(tmp_path):
    gemma2(len(gemma_tokenizer())).save_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", attn_implementation="eager")
    arguments = config(tmp_path, eval_strategy="no")
    own = preference_collator(arguments, gemma_tokenizer())
    own.pad_to_multiple_of = 64
    rows = preferences(4)
    trainer = DPOTrainer(model, arguments, processing_class=gemma_tokenizer(), train_dataset=rows, data_collator=own)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    assert batch["input_ids"].shape[1] % 64 == 0 and len(batch["pair_lengths"]) == 4


def test_indices_worked_by_hand():
    """Pairs `ab|c|de` and `f|g|h`, padded to four columns: the row is `abcde fgh`."""
    gather, spread = row_indices([(2, 1, 2), (1, 1, 1)], 4)
    assert gather.tolist() == [0, 1, 2, 10, 11, 4, 5, 13]
    assert [row[:4].tolist() for row in spread] == [[0, 1, 2, 3], [5, 6, 6, 7], [0, 1, 3, 4], [5, 7, 6, 7]]


def test_prompts_that_were_cut_differently_are_not_shared():
    examples = [{"prompt_ids": [1, 2, 3], "chosen_ids": [4], "rejected_ids": [5, 6, 7]}]
    for mode, expected in (("keep_start", (3, 1, 1)), ("keep_end", (0, 4, 4))):
        arguments = DPOConfig(output_dir="unused", max_length=4, truncation_mode=mode, use_cpu=True, bf16=False)
        assert lengths_in(preference_collator(arguments, gemma_tokenizer())(examples)) == [expected]
