"""The ways to compute SimPO's loss that are compared, each from pairs to gradients.

Every arm returns the summed loss of its micro-batch divided by the pairs of the whole step, so that the sum over an
arm's micro-batches is the same number in every arm.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from workload import BETA, GAMMA_BETA_RATIO

from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.data.padded_batches import PaddedPreferenceCollator
from alignment.losses import simpo_loss
from alignment.modeling.packed_forward import packed_logps

Pairs = Sequence[dict[str, Any]]
Loss = Callable[[PreTrainedModel, Pairs], Tensor]
"""Sum of the losses of one micro-batch."""

UNUSED_ROW = {"prompt": ["a"], "chosen": ["a a"], "rejected": ["a a a"]}
"""TRL's trainers want data when they are made; the arms hand them token ids afterwards."""


def reference_method(model: PreTrainedModel, pairs: Pairs) -> Tensor:
    """Two padded rows a pair, logits of every position, fp32 log-softmax over all of them."""
    batch = to_device(PaddedPreferenceCollator(0)(pairs), model.device)
    labels = torch.full_like(batch["input_ids"], -100)
    for row, pair in enumerate([*pairs, *pairs]):
        completion = pair["chosen_ids"] if row < len(pairs) else pair["rejected_ids"]
        start = len(pair["prompt_ids"])
        labels[row, start : start + len(completion)] = torch.tensor(completion, device=labels.device)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    shifted, targets = logits[:, :-1].float(), labels[:, 1:]
    counted = targets != -100
    token_logps = shifted.log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return summed_loss((token_logps * counted).sum(-1) / counted.sum(-1))


def padding_free(model: PreTrainedModel, pairs: Pairs) -> Tensor:
    """Packed, completion logits only, but every pair as two documents: the prompt is computed twice."""
    documents = [(pair["prompt_ids"], pair[side]) for side in ("chosen_ids", "rejected_ids") for pair in pairs]
    lengths = [(len(prompt), len(completion), 0) for prompt, completion in documents]
    starts = [0, *accumulate(map(sum, lengths))]
    predictors = [
        position
        for (prompt, completion, _), start in zip(lengths, starts, strict=False)
        for position in range(start + prompt - 1, start + prompt + completion - 1)
    ]
    batch = {
        "input_ids": torch.tensor([[token for document in documents for part in document for token in part]]),
        "position_ids": torch.tensor([[position for length in lengths for position in range(sum(length))]]),
        "pair_lengths": lengths,
        "predictor_index": torch.tensor(predictors),
        "targets": torch.tensor([token for _, completion in documents for token in completion]),
        "target_rows": torch.tensor([row for row, (_, n, _) in enumerate(lengths) for _ in range(n)]),
        "weight": torch.ones(len(pairs)),
    }
    return summed_loss(packed_logps(model, to_device(batch, model.device)).means)


def ours(model: PreTrainedModel, pairs: Pairs) -> Tensor:
    """Shared prompts, completion logits only."""
    batch = to_device(PackedPreferenceCollator()(pairs), model.device)
    return summed_loss(packed_logps(model, batch).means)


def trl_trainer(model: PreTrainedModel, *, micro_batch: int) -> Loss:
    """TRL's real `CPOTrainer` with SimPO's loss: its collator, its concatenated forward, its loss."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    from datasets import Dataset
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    config = CPOConfig(
        output_dir=mkdtemp(),
        loss_type="simpo",
        cpo_alpha=0.0,
        beta=BETA,
        simpo_gamma=GAMMA_BETA_RATIO * BETA,
        per_device_train_batch_size=micro_batch,
        report_to="none",
        use_cpu=model.device.type == "cpu",
        bf16=False,
    )
    trainer = CPOTrainer(model, config, train_dataset=Dataset.from_dict(UNUSED_ROW), processing_class=word_tokenizer())
    Path(config.output_dir).rmdir()

    def loss(model: PreTrainedModel, pairs: Pairs) -> Tensor:
        batch = to_device(trainer.data_collator([trl_features(pair) for pair in pairs]), model.device)
        return trainer.compute_loss(model, batch) * len(pairs)

    return loss


def dpo_trainer(model: PreTrainedModel, *, micro_batch: int, packing: bool) -> Loss:
    """DPO by TRL's trainer, policy and reference: padded as TRL has it, or with shared prompts as ours."""
    from datasets import Dataset

    from alignment.trainers.dpo import DPOTrainer
    from alignment.trainers.dpo_config import DPOConfig

    folder = Path(mkdtemp())
    model.save_pretrained(folder)  # TRL loads the reference model from where the policy came from
    model.config._name_or_path = str(folder)
    trainer = DPOTrainer(
        model,
        DPOConfig(
            output_dir=str(folder / "out"),
            packing=packing,
            max_length=None,
            gradient_checkpointing=False,
            per_device_train_batch_size=micro_batch,
            report_to="none",
            use_cpu=model.device.type == "cpu",
            bf16=False,
        ),
        processing_class=word_tokenizer(),
        train_dataset=Dataset.from_dict(UNUSED_ROW),
    )
    rmtree(folder)

    def loss(model: PreTrainedModel, pairs: Pairs) -> Tensor:
        batch = to_device(trainer.data_collator(list(pairs)), model.device)
        return trainer.compute_loss(model, batch) * len(pairs)

    return loss


def word_tokenizer() -> PreTrainedTokenizerBase:
    """Enough for `UNUSED_ROW`."""
    from tokenizers import Tokenizer, models

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "<bos>": 2, "a": 3}, unk_token="a")),
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="a",
    )


def trl_method(model: PreTrainedModel, pairs: Pairs) -> Tensor:
    """What TRL's `CPOTrainer` computes, for machines without TRL: padded rows, full logits, row-wise normalizer.

    TRL avoids the full log-softmax: it gathers the target logits and subtracts a log-sum-exp taken row by row in
    fp32, or a log-softmax row by row in bf16.
    """
    batch = to_device(PaddedPreferenceCollator(0)(pairs), model.device)
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    shifted, targets = logits[:, :-1], batch["input_ids"][:, 1:]
    if logits.dtype == torch.float32:
        selected = shifted.gather(2, targets[..., None])[..., 0]
        token_logps = selected - torch.stack([row.logsumexp(-1) for row in shifted])
    else:
        rows = zip(shifted, targets, strict=True)
        token_logps = torch.stack([z.log_softmax(-1).gather(1, t[:, None])[:, 0] for z, t in rows])
    counted = torch.zeros_like(token_logps)
    for row, pair in enumerate([*pairs, *pairs]):
        side = "chosen_ids" if row < len(pairs) else "rejected_ids"
        counted[row, len(pair["prompt_ids"]) - 1 : len(pair["prompt_ids"]) + len(pair[side]) - 1] = 1
    return summed_loss((token_logps * counted).sum(-1) / counted.sum(-1))


def trl_features(pair: dict[str, Any]) -> dict[str, list[int]]:
    """A tokenized pair under the names that TRL's collator expects."""
    features = {
        "prompt_input_ids": pair["prompt_ids"],
        "prompt_attention_mask": [1] * len(pair["prompt_ids"]),
    }
    for side in ("chosen", "rejected"):
        ids = pair["prompt_ids"] + pair[f"{side}_ids"]
        features[f"{side}_input_ids"] = ids
        features[f"{side}_attention_mask"] = [1] * len(ids)
        features[f"{side}_labels"] = [-100] * len(pair["prompt_ids"]) + pair[f"{side}_ids"]
    return features


def summed_loss(means: Tensor) -> Tensor:
    """Mean log-probabilities `[2B]`, chosen first, to the sum of SimPO's losses."""
    losses, *_ = simpo_loss(*means.chunk(2), beta=BETA, gamma_beta_ratio=GAMMA_BETA_RATIO)
    return losses.sum()


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def run_step(model: PreTrainedModel, loss: Loss, micro_batches: Sequence[Pairs]) -> float:
    """Forward and backward of all micro-batches of an optimizer step; the step's mean loss."""
    model.zero_grad(set_to_none=True)
    pairs = sum(map(len, micro_batches))
    total = torch.zeros((), device=model.device, dtype=torch.float32)
    for micro_batch in micro_batches:
        value = loss(model, micro_batch) / pairs
        value.backward()
        total += value.detach()
    return total.item()
