"""Several answers to a prompt in one packed row: loss, gradients and metrics are those of the pairs, each by itself."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
import torch
from datasets import Dataset
from tiny import gemma2, gemma_tokenizer

from alignment.data.shared_answers import SharedAnswersCollator, share_answers, shared_rows
from alignment.methods import METHODS
from alignment.modeling.attention.flex import mask_of, visible_pairs
from alignment.modeling.attention.layout import SharedPrompts, visible_keys
from alignment.modeling.flops import forward_flops, padded_tokens
from alignment.trainers.step_rows import pair_lengths_of

LENGTHS = {"max_length": 96, "max_prompt_length": 64}


def pairs_of(answers: int, rule: str, prompts: int = 3, seed: int = 0) -> list[dict]:
    """Tokenized pairs of `prompts` prompts with so many answers, the first the best."""
    draw = random.Random(seed)
    rows = []
    for _ in range(prompts):
        prompt = [2, *(draw.randrange(10, 90) for _ in range(draw.randrange(3, 12)))]
        texts = [[100 + at, *(draw.randrange(10, 90) for _ in range(draw.randrange(0, 9)))] for at in range(answers)]
        chosen = (
            [(0, at) for at in range(1, answers)] if rule == "best_against_each" else combinations(range(answers), 2)
        )
        rows += [
            {"prompt_ids": prompt, "chosen_ids": texts[better], "rejected_ids": texts[worse]}
            for better, worse in chosen
        ]
    return rows


def trainer_of(folder, rows, method: str, *, share: bool, packing: bool = True, **changes):
    torch.manual_seed(0)
    settings = {
        "per_device_train_batch_size": 32,
        "report_to": "none",
        "use_cpu": True,
        "seed": 3,
        **LENGTHS,
        **changes,
    }
    args = METHODS[method].config_class()(str(folder), packing=packing, share_answers=share, **settings)
    model = gemma2(seed=7, sliding_window=8)
    return METHODS[method].trainer_class()(
        model, args, train_dataset=Dataset.from_list(rows), processing_class=gemma_tokenizer()
    )


def step(trainer) -> tuple[float, dict[str, torch.Tensor], dict[str, float]]:
    """Loss, gradients and metrics of one batch of the whole data set."""
    rows = [{**row, "index": at, "weight": 1.0} for at, row in enumerate(trainer.train_dataset)]
    loss = trainer.compute_loss(trainer.model.train(), trainer.data_collator(rows))
    loss.backward()
    gradients = {name: weight.grad for name, weight in trainer.model.named_parameters() if weight.grad is not None}
    return loss.item(), gradients, trainer._means("train")


@pytest.mark.parametrize("rule", ["best_against_each", "all_pairs"])
@pytest.mark.parametrize("answers", [2, 4, 5])
@pytest.mark.parametrize(("method", "changes"), [("simpo", {"sft_weight": 0.3}), ("alphapo", {})])
def test_loss_and_gradients_are_those_of_the_pairs(tmp_path, method, changes, answers, rule):
    rows = pairs_of(answers, rule)
    shared, apart, padded = (
        step(trainer_of(tmp_path, rows, method, share=share, packing=packing, **changes))
        for share, packing in ((True, True), (False, True), (False, False))
    )
    for expected in (apart, padded):
        assert shared[0] == pytest.approx(expected[0], rel=1e-5)
        assert shared[2] == pytest.approx(expected[2], rel=1e-4, abs=1e-5)
        assert shared[1].keys() == expected[1].keys()
        for name, gradient in shared[1].items():
            scale = expected[1][name].abs().max()
            assert (gradient - expected[1][name]).abs().max() <= 1e-4 * scale, name


def test_a_run_counts_rows_of_prompts_and_trains(tmp_path):
    rows = pairs_of(4, "all_pairs", prompts=6)
    trainer = trainer_of(
        *(tmp_path, rows, "simpo"),
        share=True,
        **{
            "per_device_train_batch_size": 2,
            "max_steps": 4,
            "logging_steps": 1,
            "learning_rate": 1e-3,
            "warmup_steps": 0,
        },
    )
    trainer.train()
    losses = [entry["preference_loss"] for entry in trainer.state.log_history if "preference_loss" in entry]
    assert len(trainer.train_dataset) == 6 and len(losses) == 4
    (batch,) = next(iter(trainer.get_train_dataloader()))
    assert len(batch["pair_lengths"]) == 2 and len(batch["weight"]) == 12
    assert sorted(batch["index"].tolist()) != batch["index"].tolist() or len({*batch["index"].tolist()}) == 12


def test_a_batch_worked_by_hand():
    pairs = [{"prompt_ids": [5, 6], "chosen_ids": [7, 8], "rejected_ids": other} for other in ([9], [3])]
    pairs.append({"prompt_ids": [4], "chosen_ids": [7], "rejected_ids": [8]})
    rows = list(shared_rows(pairs))
    assert rows == [
        {"prompt_ids": [5, 6], "answer_ids": [[7, 8], [9], [3]], "pairs": [[0, 1], [0, 2]], "rows": [0, 1]},
        {"prompt_ids": [4], "answer_ids": [[7], [8]], "pairs": [[0, 1]], "rows": [2]},
    ]
    batch = SharedAnswersCollator()([{**row, "weight": 1.0} for row in rows])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 3, 4, 7, 8]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 2, 2, 0, 1, 1]]
    assert batch["predictor_index"].tolist() == [1, 2, 1, 1, 6, 6]
    assert batch["targets"].tolist() == [7, 8, 9, 3, 7, 8]
    assert batch["target_rows"].tolist() == [0, 0, 1, 2, 3, 4]
    assert batch["pair_answers"].tolist() == [0, 0, 3, 1, 2, 4]
    assert batch["pair_lengths"] == [(2, 2, 1, 1), (1, 1, 1)]
    assert batch["weight"].tolist() == [1.0] * 3 and batch["index"].tolist() == [0, 1, 2]
    assert pair_lengths_of(share_answers(Dataset.from_list(pairs))) == [(2, 2, 1, 1), (1, 1, 1)]


@pytest.mark.parametrize("window", [None, 4])
def test_who_sees_whom_with_several_answers(window):
    """The segments, FlexAttention's mask and its count of blocks agree on rows of two, three and five answers."""
    layout = SharedPrompts([(3, 2, 4, 1), (2, 1, 3), (4, 2, 1, 3, 2, 5), (2, 3, 0)], torch.device("cpu"))
    seen = torch.zeros(layout.tokens, layout.tokens, dtype=torch.bool)
    row = place = 0
    for queries, keys in zip(layout.query_lengths, layout.key_lengths, strict=True):
        columns = layout.key_index[place : place + keys]
        seen[row : row + queries, columns] = visible_keys(queries, keys, window, torch.device("cpu"))
        row, place = row + queries, place + keys
    index = torch.arange(layout.tokens)
    assert torch.equal(mask_of(layout, window)(0, 0, index[:, None], index), seen)
    assert torch.equal(visible_pairs(layout, window, 1), seen.long())


def test_what_sharing_saves_is_counted():
    geometry = type("G", (), {"block_parameters": 5, "head_parameters": 7, "heads": 1, "head_dim": 1, "layers": 1})
    # 10 (3 + 6) + 14 x 6 + 4 (6 + 1 + 3 + 6 + 3 x 6)
    assert forward_flops(geometry, (3, 1, 2, 3)) == 90 + 84 + 136
    assert padded_tokens([(3, 1, 2, 3), (1, 1, 1)]) == 5 * 6
