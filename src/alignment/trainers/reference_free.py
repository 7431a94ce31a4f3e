"""The base of SimPO, ORPO and their kind: a `transformers.Trainer` whose loss needs no reference model.

A method adds its loss over mean log-probabilities (`pair_losses`) and, where it is no setting, the weight of the
supervised term (`sft_weight`). Tokenization, the pairs of each step, exact averaging over pairs whatever the
micro-batches and ranks, metrics and evaluation live here once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from peft import PeftConfig
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput

from alignment.data.sampler import PairDataset, StepDataLoader, StepSampler, even_plan, training_sampler
from alignment.data.shared_answers import share_answers
from alignment.files import cache_root
from alignment.modeling.dropout import disable_dropout
from alignment.modeling.peft import wrap_with_peft
from alignment.trainers.config import MarginConfig, ReferenceFreeConfig
from alignment.trainers.layouts import Layout, layout_for
from alignment.trainers.metrics import MeanMeter, preference_terms
from alignment.trainers.packing_plan import apply_packing
from alignment.trainers.step_rows import global_batch_size
from alignment.trainers.whole_steps import WholeStepTrainer, collated_step


class ReferenceFreeTrainer(WholeStepTrainer):
    """Trains on preference pairs `{chosen, rejected}` or on their tokens `{prompt_ids, chosen_ids, rejected_ids}`.

    Args:
        model: the policy.
        args: the method's own, such as `SimPOConfig`.
        train_dataset, eval_dataset: `datasets.Dataset` of message rows, or of token rows (see `prepare_rows`).
        processing_class: the tokenizer, chat template included.
        peft_config: adapters to train instead of all weights.
        callbacks: as in `transformers.Trainer`.
    """

    args: MarginConfig
    _tag_names: ClassVar[list[str]] = ["preference-optimization"]
    # The loss is already the mean over the pairs of the whole optimizer step.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: PreTrainedModel,
        args: ReferenceFreeConfig,
        *,
        train_dataset: Any | None = None,
        eval_dataset: Any | None = None,
        processing_class: PreTrainedTokenizerBase,
        peft_config: PeftConfig | None = None,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        args = copy.copy(args)
        args._n_gpu = min(args.n_gpu, 1)  # DataParallel would split flat tensors; several devices need a launcher
        if args.disable_dropout:
            disable_dropout(model)
        if peft_config is not None:
            model = wrap_with_peft(model, peft_config, args)
        train_dataset, eval_dataset = (
            self._tokenized(split, args, processing_class) for split in (train_dataset, eval_dataset)
        )
        if args.share_answers:
            train_dataset, eval_dataset = (
                None if split is None else share_answers(split) for split in (train_dataset, eval_dataset)
            )
            if train_dataset is not None:
                PartialState().print(f"Shared answers: {len(train_dataset):,} rows, one for the pairs of a prompt.")
        self.global_batch_size = global_batch_size(args)
        self._accumulation = args.gradient_accumulation_steps
        self.layout: Layout = layout_for(args, model, processing_class, train_dataset)
        apply_packing(self.layout.packing, args, model)
        PartialState().print(self.layout)
        if self.layout.packing and self.layout.packing.advice:
            PartialState().print(self.layout.packing.advice)
        self._meters = {"train": MeanMeter(), "eval": MeanMeter()}
        self._finite: list[tuple[Tensor, Tensor]] = []
        super().__init__(
            model=model,
            args=args,
            data_collator=self.layout.collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=callbacks,
        )
        self.measure_throughput(padded=self.layout.packing is None)
        # Releases that do not know `loss_is_scaled_for_ga` divide by the accumulation unless this is set.
        self.model_accepts_loss_kwargs = True

    # -- what a method adds

    def pair_losses(self, chosen_logps: Tensor, rejected_logps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(losses, chosen_rewards, rejected_rewards)`, each `[B]`, from mean log-probabilities `[B]`."""
        raise NotImplementedError

    @property
    def sft_weight(self) -> float:
        """Weight of the cross-entropy over the step's chosen tokens."""
        return self.args.sft_weight

    # -- the pairs of a step

    def get_total_train_batch_size(self, args: ReferenceFreeConfig) -> int:
        """Pairs of an optimizer step; packed micro-batches hold as many as fit, so this is no product of arguments."""
        return self.global_batch_size

    @property
    def attention_backend(self) -> str:
        return self.layout.attention_backend

    @property
    def batch_facts(self) -> dict[str, int]:
        packing = self.layout.packing
        how = packing.facts() if packing else {"micro_batches": self._accumulation}
        return {"global_batch_size": self.global_batch_size, **how}

    def get_train_dataloader(self) -> StepDataLoader:
        sampler = training_sampler(
            self.args,
            num_rows=len(self.train_dataset),
            global_batch_size=self.global_batch_size,
            plan=self.layout.packing.dealt.plan if self.layout.packing else even_plan(self.args.train_batch_size),
        )
        return self._loader(self.train_dataset, sampler, collate=partial(collated_step, self.data_collator))

    def get_eval_dataloader(self, eval_dataset: Any | None = None) -> StepDataLoader:
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(dataset, str):
            dataset = self.eval_dataset[dataset]
        sampler = StepSampler(
            num_rows=len(dataset),
            global_batch_size=self.args.eval_batch_size * self.args.world_size,
            plan=even_plan(self.args.eval_batch_size),
            world_size=self.args.world_size,
            rank=self.args.process_index,
        )
        return self._loader(dataset, sampler, collate=self.data_collator)

    def _loader(self, dataset: Any, sampler: StepSampler, *, collate: Callable[[Any], Any]) -> StepDataLoader:
        # Not handed to accelerate: the sampler already knows this rank's share.
        return StepDataLoader(
            PairDataset(dataset),
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
        )

    # -- the loss

    def _get_num_items_in_batch(
        self, batch_samples: Sequence[Sequence[Mapping[str, Tensor]]], device: torch.device
    ) -> Tensor:
        """`[pairs, chosen tokens]` of the whole optimizer step: all its micro-batches on all ranks."""
        self._finite.clear()
        counts = torch.zeros(2, device=device)
        for batch in (micro_batch for step in batch_samples for micro_batch in step):
            weight = batch["weight"]
            tokens = torch.bincount(batch["target_rows"], minlength=2 * len(weight))
            if "pair_answers" in batch:
                tokens = tokens[batch["pair_answers"]]
            tokens = tokens[: len(weight)]
            counts += torch.stack([weight.sum(), (weight * tokens).sum()]).to(device)
        return self.accelerator.reduce(counts, reduction="sum")

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """This micro-batch's share of the step's mean loss, times the ranks it will be averaged over."""
        if num_items_in_batch is None:
            num_items_in_batch = self._get_num_items_in_batch([[inputs]], self.args.device)
        step_pairs, step_tokens = num_items_in_batch
        logps = self.layout.logps(model, inputs)
        weight = inputs["weight"].to(logps.sums.dtype)
        chosen_sums = logps.sums.chunk(2)[0]
        losses, chosen_rewards, rejected_rewards = self.pair_losses(*logps.means.chunk(2))
        if model.training:
            self._finite.append((inputs["index"], torch.isfinite(losses.detach())))
        loss = (losses * weight).sum() / step_pairs
        if self.sft_weight:
            loss = loss - self.sft_weight * (chosen_sums * weight).sum() / step_tokens
        terms = preference_terms(logps, chosen_rewards, rejected_rewards, losses, weight)
        self._meters["train" if model.training else "eval"].add(terms)
        loss = loss * self.accelerator.num_processes
        return (loss, {"rewards": chosen_rewards - rejected_rewards}) if return_outputs else loss

    def rows_with_bad_loss(self) -> list[int]:
        """Rows of the current optimizer step whose loss is NaN or infinite, on any rank. A collective call."""
        mine = [row for rows, finite in self._finite for row in rows[~finite.to(rows.device)].tolist()]
        return sorted(set(gather_object(mine)))

    # -- logging and evaluation

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs = {**logs, **self._means("train")}
        super().log(logs, start_time)

    def prediction_step(
        self, model: nn.Module, inputs: Mapping[str, Tensor], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[None, None, None]:
        """Feeds the evaluation meter; the loop's own containers would average batches, not pairs."""
        with torch.no_grad(), self.compute_loss_context_manager():
            self.compute_loss(model, self._prepare_inputs(inputs))
        return None, None, None

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> EvalLoopOutput:
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        means = self._means("eval")
        means["loss"] = means["preference_loss"] + self.sft_weight * means["sft_loss"]
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in means.items()})
        return output

    def _means(self, mode: str) -> dict[str, float]:
        return self._meters[mode].pop(self.accelerator)

    @staticmethod
    def _tokenized(dataset: Any | None, args: ReferenceFreeConfig, tokenizer: PreTrainedTokenizerBase) -> Any | None:
        if dataset is None or "prompt_ids" in dataset.column_names:
            return dataset
        from alignment.data import TokenRules, prepare_rows

        prepared = prepare_rows(
            dataset,
            tokenizer,
            TokenRules.read(partial(getattr, args)),
            num_proc=args.dataset_num_proc,
            cache=cache_root(),
        )
        PartialState().print(prepared)
        return prepared.dataset
