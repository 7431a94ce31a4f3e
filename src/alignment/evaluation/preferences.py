"""Held-out preferences: how often, and by how much, a model prefers the chosen answer. By the packed forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from alignment.errors import Fault, SetupError
from alignment.evaluation.context import Context
from alignment.evaluation.held_out import held_out_tokens, held_out_words
from alignment.evaluation.results import Metric, Outcome, mean_metric, share_metric
from alignment.evaluation.subjects import BASE, Subject, find_subjects
from alignment.methods import METHODS
from alignment.recipe.evaluation_settings import PreferenceSuite
from alignment.terminal import counted

if TYPE_CHECKING:
    from datasets import Dataset

    from alignment.recipe import Recipe

Logps = Mapping[str, Sequence[float]]
"""Of one pair: `sums` and `counts`, of the chosen completion and the rejected one."""


def measure(context: Context, subjects: Sequence[Subject]) -> Iterator[tuple[Mapping[str, Any], Outcome]]:
    """Accuracy, margins, log-probabilities and lengths of each model on the same pairs.

    Raises:
        DataError: data that cannot be found, or holds no pairs.
        SetupError: a model that cannot be loaded.
    """
    suite = context.settings.preferences or PreferenceSuite()
    if METHODS[context.recipe.method].reward_model:
        remedy = "SUITE=reward_model, with evaluation.reward_model.scorer: the recipe's output_dir"
        rule = "trains a reward model, which has no log-probabilities of answers"
        raise SetupError(Fault(key="method", value=context.recipe.method, rule=rule, remedy=remedy))
    compared = METHODS[context.recipe.method].reference
    reference = pair_logps(context, _base(subjects, context), suite) if compared else None
    for subject in subjects:
        logps = pair_logps(context, subject, suite)
        yield (
            subject.identity,
            outcome(context, subject, logps, reference=None if subject.label == BASE else reference),
        )


def outcome(
    context: Context, subject: Subject, logps: Sequence[Logps], *, reference: Sequence[Logps] | None
) -> Outcome:
    """The numbers of one model from the log-probabilities of its pairs.

    Args:
        reference: those of the reference model, where the method has one and this is not it.
    """
    suite = context.settings.preferences or PreferenceSuite()
    chosen, rejected = ([pair["sums"][side] / pair["counts"][side] for pair in logps] for side in (0, 1))
    lengths = [(pair["counts"][0], pair["counts"][1]) for pair in logps]
    right = [float(good > bad) for good, bad in zip(chosen, rejected, strict=True)]
    metrics = [
        share_metric("accuracy", right, headline=True),
        mean_metric("margin", [good - bad for good, bad in zip(chosen, rejected, strict=True)], "nats per token"),
        mean_metric("log-probability of chosen", chosen, "nats per token"),
        mean_metric("log-probability of rejected", rejected, "nats per token"),
        *_length_metrics(right, lengths),
        *(_reward_metrics(context.recipe, logps, reference) if reference else ()),
    ]
    return Outcome(
        suite="preferences",
        model=subject.label,
        data=held_out_words(context.recipe, suite),
        metrics=tuple(metrics),
        settings=asdict(suite),
        versions=context.versions,
    )


def _length_metrics(right: Sequence[float], lengths: Sequence[tuple[float, float]]) -> Iterator[Metric]:
    """How long the answers are, and whether the model only prefers the longer one."""
    yield mean_metric("length of chosen", [good for good, _ in lengths], "tokens")
    yield mean_metric("length of rejected", [bad for _, bad in lengths], "tokens")
    for name, part in (
        (
            "accuracy where chosen is longer",
            [hit for hit, (good, bad) in zip(right, lengths, strict=True) if good > bad],
        ),
        (
            "accuracy where chosen is shorter",
            [hit for hit, (good, bad) in zip(right, lengths, strict=True) if good < bad],
        ),
    ):
        if part:
            yield share_metric(name, part)


def _reward_metrics(recipe: Recipe, logps: Sequence[Logps], reference: Sequence[Logps]) -> Iterator[Metric]:
    """Rewards of a method with a reference: beta times the change of the summed log-probability."""
    beta = float(recipe.training.get("beta", METHODS[recipe.method].config_class().beta))
    chosen, rejected = (
        [beta * (ours["sums"][side] - theirs["sums"][side]) for ours, theirs in zip(logps, reference, strict=True)]
        for side in (0, 1)
    )
    pairs = list(zip(chosen, rejected, strict=True))
    yield share_metric("reward accuracy", [float(good > bad) for good, bad in pairs])
    yield mean_metric("reward margin", [good - bad for good, bad in pairs], "reward")


def pair_logps(context: Context, subject: Subject, suite: PreferenceSuite) -> list[Logps]:
    """Summed log-probability and tokens of both completions of every pair, in the order of the data."""
    rows, fingerprint = held_out_tokens(context.recipe, subject.tokenizer, suite)
    about = {"model": subject.identity, "rows": fingerprint, "dtype": context.dtype}
    store = context.store(subject, "preferences", about)
    open_rows = [row for row in range(len(rows)) if str(row) not in store.found]
    if open_rows:
        with counted(f"Preferences, {subject.label}", len(open_rows), "pairs") as advance:
            for numbers, found in _computed(context, subject, rows, open_rows, suite.tokens_per_batch):
                for row, logps in zip(numbers, found, strict=True):
                    store.add(str(row), logps)
                advance(len(numbers))
    return [store.found[str(row)] for row in range(len(rows))]


def _computed(
    context: Context, subject: Subject, rows: Dataset, numbers: Sequence[int], tokens: int
) -> Iterator[tuple[list[int], list[Logps]]]:
    """Row numbers of a batch, and their log-probabilities."""
    import torch

    from alignment.modeling.adapter_folder import load_answering
    from alignment.modeling.dropout import disable_dropout

    policy = load_answering(replace(subject.arguments, dtype=context.dtype)).to(context.device).eval()
    disable_dropout(policy)
    collate, logps_of = _layout(policy, subject, longest=max(_size(rows[row]) for row in numbers))
    with torch.inference_mode():
        for batch in _batches(rows, numbers, tokens):
            pairs = [{**{key: rows[row][key] for key in _IDS}, "weight": 1.0, "index": row} for row in batch]
            inputs = {
                key: value.to(context.device) if isinstance(value, torch.Tensor) else value
                for key, value in collate(pairs).items()
            }
            found = logps_of(policy, inputs)
            sums, counts = found.sums.view(2, -1).T.tolist(), found.counts.view(2, -1).T.tolist()
            yield batch, [{"sums": one, "counts": many} for one, many in zip(sums, counts, strict=True)]


_IDS = ("prompt_ids", "chosen_ids", "rejected_ids")


def _size(row: Mapping[str, Any]) -> int:
    return sum(len(row[key]) for key in _IDS)


def _layout(policy: Any, subject: Subject, *, longest: int) -> tuple[Any, Any]:
    """Collator and forward: packed rows, or padded ones for a model that packing is not proven for."""
    from alignment.data.packed_batches import PackedPreferenceCollator
    from alignment.data.padded_batches import PaddedPreferenceCollator
    from alignment.modeling.logps import padded_logps
    from alignment.modeling.packed_forward import packed_logps, prepare_for_packing

    try:
        requested = policy.config._attn_implementation
        prepare_for_packing(policy, requested=requested, longest=longest, allow_slow=True)
    except SetupError as error:
        print(f"Padded rows, since packed ones are not to be had: {error.faults[0]}")
        return PaddedPreferenceCollator(subject.tokenizer.pad_token_id or 0), padded_logps
    return PackedPreferenceCollator(), packed_logps


def _batches(rows: Dataset, numbers: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Row numbers, the longest pairs first, so that memory runs out at the start if it does."""
    sizes = {row: _size(rows[row]) for row in numbers}
    batch: list[int] = []
    total = 0
    for row in sorted(numbers, key=lambda row: (-sizes[row], row)):
        if batch and total + sizes[row] > tokens:
            yield batch
            batch, total = [], 0
        batch.append(row)
        total += sizes[row]
    if batch:
        yield batch


def _base(subjects: Sequence[Subject], context: Context) -> Subject:
    """The recipe's base model, which is the reference."""
    found = next((subject for subject in subjects if subject.label == BASE), None)
    return found or find_subjects(context.recipe, compare=(BASE,))[0]
