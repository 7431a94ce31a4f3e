"""A recipe as a plan sees it: its model, its rows, and how its micro-batches are computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from alignment.data.sampler import WholeStepSampler, even_plan
from alignment.errors import Fault, RecipeError
from alignment.method import Method
from alignment.methods import METHODS
from alignment.modeling.flops import Geometry, PairLengths, forward_flops
from alignment.modeling.memory_plan import score_bytes
from alignment.planning.footprint import footprint
from alignment.planning.model_facts import ModelFacts, itemsize_of
from alignment.planning.rows import Rows
from alignment.planning.step import Footprint, Form, Kernels, Step
from alignment.recipe import Recipe
from alignment.recipe.batch import plan_batch
from alignment.recipe.settings import Settings
from alignment.trainers.step_plan import Workload
from alignment.trainers.step_rows import steps_in

FEW, MANY = 4, 8
"""Pairs of average lengths whose packed rows the line of a GPU's footprint goes through."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that is asked of a recipe."""

    recipe: Recipe
    model: ModelFacts
    rows: Rows

    @cached_property
    def settings(self) -> Settings:
        return Settings(self.recipe.method, self.recipe.resolved, set())

    @property
    def method(self) -> Method:
        return METHODS[self.recipe.method]

    @cached_property
    def geometry(self) -> Geometry:
        """Sizes of the decoder; of a mixture of experts, with those experts that a token sees."""
        geometry = Geometry.of(self.model.config.get_text_config())
        experts = getattr(self.model.config.get_text_config(), "num_experts_per_tok", None) or 1
        return replace(geometry, intermediate=geometry.intermediate * experts)

    @property
    def mixed(self) -> bool:
        """Computes in 16 bits."""
        return bool(self.settings["bf16"] or self.settings["fp16"])

    @property
    def cast(self) -> int:
        """fp32 weights that autocast copies to 16 bits, where the whole model is on one device."""
        if not self.mixed:
            return 0
        return self.model.trainable if self.recipe.model.use_peft or itemsize_of(self.recipe.model) == 4 else 0

    @property
    def form(self) -> Form:
        """How the rows of a micro-batch are laid out."""
        if self.method.data == "conversation":
            return "conversations"
        return "packed" if self.settings["packing"] else "padded"

    @property
    def plans_steps(self) -> bool:
        """Micro-batches are filled up to a number of tokens, rather than with a number of rows."""
        return self.method.plans_steps and self.form == "packed"

    @property
    def passes(self) -> float:
        """What a step costs in forward passes: three; two where few weights are trained; one for a reference."""
        trained = 2 if self.recipe.model.use_peft else 3
        return trained + (self.method.reference and not self.settings["precompute_ref_log_probs"])

    # -- the steps of a run

    def pairs_per_step(self, ranks: int) -> int:
        """Rows of an optimizer step.

        Raises:
            RecipeError: the recipe's batch cannot be made by so many processes.
        """
        micro, accumulation = self.batch(ranks)
        return micro * accumulation * ranks

    def batch(self, ranks: int) -> tuple[int, int]:
        """Micro-batch and accumulation of one process; `RecipeError` as above."""
        found = plan_batch(self.recipe.resolved, ranks)
        if isinstance(found, Fault):
            raise RecipeError(found, where=self.recipe.name)
        if found is not None:
            return found
        return self.settings["per_device_train_batch_size"], self.settings["gradient_accumulation_steps"]

    def optimizer_steps(self, ranks: int) -> int:
        """Of the whole run."""
        return len(self.steps(ranks))

    def steps(self, ranks: int) -> list[list[int]]:
        """The rows of every optimizer step of the run."""
        pairs = self.pairs_per_step(ranks)
        if pairs not in self._steps:
            self._steps[pairs] = self._dealt_steps(pairs)
        return self._steps[pairs]

    @cached_property
    def _steps(self) -> dict[int, list[list[int]]]:
        return {}

    def _dealt_steps(self, pairs: int) -> list[list[int]]:
        seed, data_seed = self.settings["seed"], self.settings["data_seed"]
        sampler = WholeStepSampler(
            num_rows=len(self.rows.train),
            global_batch_size=pairs,
            plan=even_plan(1),
            seed=seed if data_seed is None else data_seed,
            drop_last=bool(self.settings["dataloader_drop_last"]),
        )
        epochs, limit = self.settings["num_train_epochs"], self.settings["max_steps"] or -1
        steps = list(steps_in(sampler, epochs=epochs, max_steps=limit))
        an_epoch = math.ceil(len(self.rows.train) / sampler.global_batch_size)
        return steps[: limit if limit > 0 else max(1, math.ceil(an_epoch * epochs))]

    @cached_property
    def costs(self) -> list[float]:
        """FLOPs of every training row, forward."""
        return [self.cost(lengths) for lengths in self.rows.train]

    @cached_property
    def sizes(self) -> list[int]:
        """Tokens of every training row, with a shared prompt counted as it is computed."""
        shared = self.form != "padded"
        return [p + c + r + (0 if shared or not r else p) for p, c, r in self.rows.train]

    def cost(self, lengths: PairLengths) -> float:
        """FLOPs of one row, forward."""
        prompt, chosen, rejected = lengths
        if self.form != "padded":
            return forward_flops(self.geometry, lengths)
        rows = ((prompt, chosen, 0), (prompt, rejected, 0))
        return sum(forward_flops(self.geometry, row) for row in rows)

    @cached_property
    def evaluation_flops(self) -> float:
        """FLOPs of all evaluations of the run, forward."""
        strategy = self.settings.strategy("eval_strategy")
        if strategy == "no" or not self.rows.test:
            return 0.0
        steps, every = self.optimizer_steps(1), self.settings["eval_steps"] or self.settings["logging_steps"] or 500
        every = every if every >= 1 else every * steps
        times = math.ceil(self.settings["num_train_epochs"]) if strategy == "epoch" else int(steps // max(1, every))
        return (times + 1) * sum(map(self.cost, self.rows.test))

    def workload(self, ranks: int, *, lock_step: bool) -> Workload:
        """What training deals out, with a sharded run's ranks in lock-step."""
        return Workload(steps=self.steps(ranks), costs=self.costs, sizes=self.sizes, lock_step=lock_step)

    def kept(self, kernels: Kernels) -> dict[str, Any]:
        """What training's planner is told beside geometry and memory."""
        itemsize = 2 if self.mixed else 4
        scores = self._scores["flash_attention_2" if kernels == "cuda" else "segments"]
        return {"fused": kernels == "cuda", "scores": scores + itemsize * self.model.adapter_numbers}

    @cached_property
    def _scores(self) -> dict[str, int]:
        """Bytes of scores that attention keeps for a token, by backend."""
        itemsize = 2 if self.mixed else 4
        backends = ("flash_attention_2", "segments")
        return {name: score_bytes(name, self.geometry, itemsize, self.rows.train) for name in backends}

    # -- what a micro-batch takes

    def step(self, lengths: Sequence[PairLengths], *, whole: bool, kernels: Kernels, first: bool) -> Step:
        """A micro-batch of these rows.

        Args:
            whole: weights are used as they are held, and cast as they are used; else they were gathered in 16 bits.
            first: no micro-batch of the same step came before it.
        """
        held: Literal["float32", "bfloat16"] = "float32" if itemsize_of(self.recipe.model) == 4 else "bfloat16"
        return Step(
            lengths=tuple(lengths),
            form=self.form,
            dtype=held if whole or not self.mixed else "bfloat16",
            autocast=self.mixed and whole,
            kernels=kernels,
            accumulates=not first,
        )

    def footprint(self, step: Step) -> Footprint:
        """Of a micro-batch; looked up once."""
        if step not in self._footprints:
            self._footprints[step] = footprint(self.recipe.model, self.model.config, step)
        return self._footprints[step]

    @cached_property
    def _footprints(self) -> dict[Step, Footprint]:
        return {}

    @cached_property
    def average(self) -> PairLengths:
        """Tokens of prompt, chosen and rejected of a row, on average."""
        prompt, chosen, rejected = (sum(part) / len(self.rows.train) for part in zip(*self.rows.train, strict=True))
        return max(1, round(prompt)), max(1, round(chosen)), max(1, round(rejected))

    def footprint_of_pairs(self, lengths: Sequence[PairLengths], *, first: bool) -> Footprint:
        """Of a packed micro-batch on a CPU: of many pairs, by a line through those that stand for them all."""
        by_size = sorted(lengths, key=sum)
        samples = [by_size[len(by_size) * (2 * n + 1) // (2 * FEW)] for n in range(FEW)]
        few, many = [by_size] * 2 if len(by_size) <= FEW else [samples[1::2], samples]
        one, other = (self.footprint(self.step(pairs, whole=True, kernels="cpu", first=first)) for pairs in (few, many))
        tokens, least, most = (sum(map(sum, pairs)) for pairs in (lengths, few, many))
        return other if least == most else Footprint.between(one, other, (tokens - least) / (most - least))

    def footprint_of_tokens(self, tokens: int, *, whole: bool) -> Footprint:
        """Of a packed micro-batch of so many tokens on a GPU, by a line through two of average pairs."""
        few, many = (
            self.footprint(self.step([self.average] * pairs, whole=whole, kernels="cuda", first=False))
            for pairs in (FEW, MANY)
        )
        each = sum(self.average)
        return Footprint.between(few, many, (tokens - FEW * each) / ((MANY - FEW) * each))
