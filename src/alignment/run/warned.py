"""The warnings of a run whose rows, tokenizer and processes are known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from alignment.data.splits import TokenSplits
from alignment.data.template_markers import template_marks
from alignment.modeling.load import has_own_template
from alignment.recipe import Recipe
from alignment.recipe.guards import acknowledged
from alignment.recipe.warnings import Facts, facts_of, judged, lines_of, steps_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, TrainingArguments

_TOKENS = ("prompt_ids", "chosen_ids", "rejected_ids", "input_ids")


def warn(recipe: Recipe, facts: Facts) -> list[dict[str, Any]]:
    """Print the warnings; returns all that arise, acknowledged ones too, for the manifest."""
    known = acknowledged(recipe.resolved)
    warned = judged(facts, known)
    for line in lines_of(warned, facts, known):
        print(line, flush=True)
    return [asdict(warning) for warning in warned]


def facts_of_run(
    recipe: Recipe, config: TrainingArguments, tokenizer: PreTrainedTokenizerBase, splits: TokenSplits
) -> Facts:
    """Everything that can be known before the model is loaded."""
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps * config.world_size
    rows = len(splits.train)
    limited = config.max_steps > 0
    steps = config.max_steps if limited else steps_of(rows, batch=batch, epochs=config.num_train_epochs)
    trained = row_digests(splits.train)
    evaluated = [] if splits.test is None else row_digests(splits.test)
    distinct = set(trained)
    statistics = splits.prepared["train"].statistics
    lengths: Any = {} if statistics is None else statistics.lengths
    return replace(
        facts_of(recipe.method, recipe.resolved),
        batch=batch,
        steps=steps,
        epochs=config.max_steps * batch / rows if limited else config.num_train_epochs,
        master_weights=config.deepspeed_plugin is not None,
        header=template_marks(tokenizer).header or "",
        own_template=None if recipe.data.chat_template is None else has_own_template(recipe.model),
        rows=rows,
        distinct_rows=len(distinct),
        evaluation_rows=len(evaluated),
        seen_in_training=sum(digest in distinct for digest in evaluated),
        **{f"{part}_tokens": lengths[part]["mean"] for part in ("chosen", "rejected", "trained") if part in lengths},
    )


def row_digests(dataset: Dataset) -> list[bytes]:
    """One digest for each row of tokens."""
    table = dataset.select_columns([name for name in _TOKENS if name in dataset.column_names]).with_format("arrow")[:]
    rows = zip(*(_lists(table[name]) for name in table.column_names), strict=True)
    return [hashlib.blake2b(repr(row).encode(), digest_size=16).digest() for row in rows]


def _lists(column: Any) -> Iterator[bytes]:
    """The bytes of every list of an arrow column."""
    for chunk in column.chunks:
        values, offsets = chunk.values.to_numpy(zero_copy_only=False), chunk.offsets.to_numpy()
        for start, end in pairwise(offsets):
            yield values[start:end].tobytes()
