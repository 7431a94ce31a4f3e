"""The rows of a run's optimizer steps, and how many tokens each has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

from transformers import TrainingArguments

from alignment.data.sampler import StepSampler, even_plan, training_sampler
from alignment.modeling.flops import PairLengths


def pair_lengths_of(dataset: Any) -> list[PairLengths]:
    """Tokens of prompt and answers of every row, without loading the tokens themselves."""
    import pyarrow.compute as compute

    table = dataset.with_format("arrow")[:]
    if "answer_ids" in dataset.column_names:
        prompts = compute.list_value_length(table["prompt_ids"]).to_pylist()
        sizes = iter(compute.list_value_length(compute.list_flatten(table["answer_ids"])).to_pylist())
        answers = compute.list_value_length(table["answer_ids"]).to_pylist()
        return [(prompt, *islice(sizes, count)) for prompt, count in zip(prompts, answers, strict=True)]
    columns = (compute.list_value_length(table[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def steps_of(args: TrainingArguments, num_rows: int) -> Iterator[list[int]]:
    """The rows of every optimizer step that the run will make."""
    pairs_per_step = global_batch_size(args)
    # Which rows are in a step does not depend on how they will be dealt out.
    sampler = training_sampler(args, num_rows=num_rows, global_batch_size=pairs_per_step, plan=even_plan(1))
    yield from steps_in(sampler, epochs=args.num_train_epochs, max_steps=args.max_steps)


def steps_in(sampler: StepSampler, *, epochs: float, max_steps: int) -> Iterator[list[int]]:
    """The rows of every optimizer step of so many epochs, or of the epochs that `max_steps` above 0 takes."""
    epochs = math.ceil(epochs)
    if max_steps > 0:
        epochs = math.ceil(max_steps * sampler.global_batch_size / sampler.num_rows)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        yield from sampler.steps()


def global_batch_size(args: TrainingArguments) -> int:
    """Pairs of an optimizer step, as the arguments state them."""
    return args.train_batch_size * args.gradient_accumulation_steps * args.world_size
