"""Reward modeling: packed equals TRL's padded rows, and what is trained on is what a scorer reads."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from tiny import gemma2, gemma_tokenizer, preference_rows, save_gemma2
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification

from alignment.data.encode import Encoder
from alignment.data.token_rules import RewardRules
from alignment.errors import SetupError
from alignment.methods import METHODS
from alignment.modeling.load import load_policy
from alignment.modeling.peft import lora_config
from alignment.output.final_save import save_final
from alignment.recipe import ModelArguments
from alignment.scoring import load_scorer
from alignment.scoring.tokens import encode_messages
from alignment.trainers.reward import RewardCollator, RewardTrainer
from alignment.trainers.reward_config import RewardConfig

SPEED = ("runtime", "samples_per_second", "steps_per_second", "throughput/", "total_flos")


def tokens(count: int, *, max_length: int | None = 96) -> Dataset:
    rows = preference_rows(count, longest=30)
    split = [{"prompt": r["chosen"][:1], "chosen": r["chosen"][1:], "rejected": r["rejected"][1:]} for r in rows]
    encoded = Encoder(gemma_tokenizer(), RewardRules(max_length=max_length))(
        {name: [row[name] for row in split] for name in split[0]}
    )
    assert encoded["reason"] == [None] * count
    return Dataset.from_dict({name: encoded[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")})


def settings(folder, **changes) -> RewardConfig:
    common = {
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2,
        "max_steps": 4,
        "learning_rate": 0.1,
        "optim": "sgd",
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
    }
    return RewardConfig(output_dir=str(folder / "out"), **common | changes)


def arguments(folder, **changes) -> ModelArguments:
    return ModelArguments(model_name_or_path=str(folder), attn_implementation="eager", **changes)


def trained(base, folder, *, lora: bool = False, **changes) -> RewardTrainer:
    torch.manual_seed(0)
    trainer = RewardTrainer(
        load_policy(arguments(base), scores=True),
        settings(folder, **changes),
        train_dataset=tokens(16),
        eval_dataset=tokens(5),
        processing_class=gemma_tokenizer(),
        peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="SEQ_CLS") if lora else None,
    )
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    save_gemma2(folder, sliding_window=20)
    gemma_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("lora", "changes"),
    [(False, {"center_rewards_coefficient": 0.1}), (True, {"gradient_checkpointing": False})],
    ids=["centered", "LoRA"],
)
def test_packed_rows_train_as_padded_ones(tmp_path, base, lora, changes):
    padded, packed = (trained(base, tmp_path, lora=lora, packing=packing, **changes) for packing in (False, True))
    assert (padded.attention_backend, packed.attention_backend) == ("eager", "segments")
    for expected, found in zip(padded.state.log_history, packed.state.log_history, strict=True):
        for name in (
            name for name in expected if not name.removeprefix("eval_").removeprefix("train_").startswith(SPEED)
        ):
            assert found[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name
    weights = dict(padded.model.named_parameters())
    for name, mine in packed.model.named_parameters():
        assert torch.allclose(mine, weights[name], rtol=1e-3, atol=1e-5), name


def test_the_loss_is_that_of_two_scores(tmp_path, base):
    """Of one pair, each conversation scored alone, without padding."""
    trainer = trained(base, tmp_path, max_steps=1)
    row = trainer.train_dataset[0]
    with torch.no_grad():
        chosen, rejected = (
            trainer.model(torch.tensor([row["prompt_ids"] + row[side]])).logits[0, 0]
            for side in ("chosen_ids", "rejected_ids")
        )
        loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(trainer.data_collator([row])))
    assert loss.item() == pytest.approx(-logsigmoid(chosen - rejected).item(), rel=1e-5)


def test_every_metric_of_the_row_is_given(tmp_path, base):
    evaluated = trained(base, tmp_path, max_steps=1).evaluate()
    assert {f"eval_{name}" for name in METHODS["reward"].metrics} <= {*evaluated}
    margin = evaluated["eval_rewards/chosen"] - evaluated["eval_rewards/rejected"]
    assert evaluated["eval_rewards/margins"] == pytest.approx(margin, abs=1e-6)


@pytest.mark.parametrize("lora", [False, True])
def test_what_was_trained_is_what_scores(tmp_path, base, lora):
    """Saved, loaded by `load_scorer`, asked for messages: the numbers that the trainer computed for their tokens."""
    model = arguments(base, use_peft=lora, lora_r=4)
    trainer = RewardTrainer(
        load_policy(model, scores=True),
        settings(tmp_path, max_steps=2, eval_strategy="no"),
        train_dataset=tokens(12),
        processing_class=gemma_tokenizer(),
        peft_config=lora_config(model, scores=True),
    )
    trainer.train()
    save_final(trainer, gemma_tokenizer(), tmp_path / "saved", arguments=model, scores=True)
    rows = preference_rows(12, longest=30)
    scores = load_scorer(tmp_path / "saved").score([row["chosen"] for row in rows])
    with torch.no_grad():
        own = [
            trainer.model(torch.tensor([ids["prompt_ids"] + ids["chosen_ids"]])).logits[0, 0].item()
            for ids in trainer.train_dataset
        ]
    assert scores == pytest.approx(own, rel=1e-3, abs=1e-5) and len(set(scores)) > 1
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert saved.config.architectures == ["Gemma2ForSequenceClassification"] and saved.config.num_labels == 1
    assert not (tmp_path / "saved/generation_config.json").exists()


def test_tokens_are_those_of_the_scorer_and_answers_stay_whole():
    tokenizer = gemma_tokenizer()
    rows = preference_rows(3, longest=30)
    whole = [encode_messages(row["chosen"], tokenizer) for row in rows]
    assert [row["prompt_ids"] + row["chosen_ids"] for row in tokens(3, max_length=None)] == whole
    longest = max(len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in tokens(3))
    cut = tokens(3, max_length=longest - 1)
    for short, row in zip(cut, tokens(3), strict=True):
        assert (short["chosen_ids"], short["rejected_ids"]) == (row["chosen_ids"], row["rejected_ids"])
        assert short["prompt_ids"][0] == tokenizer.bos_token_id
    assert sum(len(short["prompt_ids"]) for short in cut) < sum(len(row["prompt_ids"]) for row in tokens(3))
    encoded = Encoder(tokenizer, RewardRules(max_length=5))({name: [rows[0][name]] for name in ("chosen", "rejected")})
    assert "an answer has" in encoded["detail"][0] and encoded["prompt_ids"] == [[]]


def test_a_batch_worked_by_hand(tmp_path):
    tokenizer = gemma_tokenizer()
    pair = {"prompt_ids": [5, 6], "chosen_ids": [7, 8], "rejected_ids": [9]}
    batch = RewardCollator(settings(tmp_path), tokenizer)([pair])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [5, 6, 9, tokenizer.pad_token_id]]
    assert batch["pair_lengths"] == [(2, 2, 1)]


def test_a_classifier_of_several_labels_is_no_reward_model(tmp_path):
    config = gemma2().config
    config.num_labels = 3
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(SetupError, match="has 3 labels, and a reward model has one; start from a language model"):
        load_policy(arguments(tmp_path), scores=True)


def test_a_reward_model_goes_on_from_its_head(tmp_path, base):
    first = load_policy(arguments(base), scores=True)
    first.save_pretrained(tmp_path)
    assert torch.equal(load_policy(arguments(tmp_path), scores=True).score.weight, first.score.weight)
