"""Held-out preferences: how often, and by how much, a model prefers the chosen answer. By the packed forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from alignment.data import load_dataset_splits, prepare_splits
from alignment.data.fingerprint import digest_of
from alignment.errors import Fault, SetupError
from alignment.evaluation.context import Context
from alignment.evaluation.results import Metric, Outcome, mean_metric, share_metric
from alignment.evaluation.subjects import Subject
from alignment.files import cache_root
from alignment.methods import METHODS
from alignment.recipe.evaluation_settings import PreferenceSuite
from alignment.terminal import counted

if TYPE_CHECKING:
    from datasets import Dataset

    from alignment.recipe import DataArguments, Recipe

Logps = Mapping[str, Sequence[float]]
"""Of one pair: `sums` and `counts`, of the chosen completion and the rejected one."""

_RULES_OF = "simpo"
"""Whose token rules hold where the recipe's method has no pairs."""


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
            outcome(context, subject, logps, reference=None if subject.label == "base" else reference),
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
        data=_words(context.recipe, suite),
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
    rows, fingerprint = _tokens(context.recipe, subject, suite)
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
    """Row numbers, the longest pairs first, so that memory runs out at once or never."""
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


def _tokens(recipe: Recipe, subject: Subject, suite: PreferenceSuite) -> tuple[Dataset, str]:
    """Token rows of the held-out pairs, and what decides them."""
    data = _data(recipe, suite)
    splits = load_dataset_splits(data, kind="preference", cache=cache_root())
    if splits.test is not None:
        splits = splits._replace(train=splits.test, test=None, fingerprints={"train": splits.fingerprints["test"]})
    method = METHODS[recipe.method if METHODS[recipe.method].data == "preference" else _RULES_OF]
    config = method.config_class()
    rules = method.token_rules(lambda key: recipe.training.get(key, getattr(config, key)))
    prepared = prepare_splits(
        splits,
        subject.tokenizer,
        rules,
        on_bad_row=data.on_bad_row,
        num_proc=data.dataset_num_proc,
        cache=cache_root(),
    )
    for text in prepared.told:
        _tell(text)
    about = digest_of([splits.fingerprints["train"], repr(rules), data.on_bad_row])
    return prepared.train, about


@cache
def _tell(text: str) -> None:
    """Print a text, once for all models."""
    print(text)


def _data(recipe: Recipe, suite: PreferenceSuite) -> DataArguments:
    """Where the held-out pairs are: the suite's data set, or the recipe's test split."""
    if suite.dataset is not None:
        return replace(
            recipe.data,
            dataset_name=suite.dataset,
            dataset_config=suite.config,
            dataset_revision=suite.revision,
            dataset_mixture=None,
            dataset_format="auto",
            column_map=None,
            selection=None,
            dataset_train_split=suite.split or "test",
            dataset_test_split=None,
            max_train_samples=suite.max_rows,
        )
    if METHODS[recipe.method].data != "preference":
        rule = f"must be stated, since {recipe.method} trains on conversations"
        raise SetupError(Fault(key="evaluation.preferences.dataset", rule=rule, remedy="name a data set of pairs"))
    if recipe.data.dataset_mixture is not None:
        if recipe.data.dataset_mixture.test_split_size is None:
            rule = "must be stated, since the mixture holds out no rows (test_split_size)"
            raise SetupError(Fault(key="evaluation.preferences.dataset", rule=rule, remedy="name a data set of pairs"))
        return replace(recipe.data, max_eval_samples=suite.max_rows)
    split = suite.split or recipe.data.dataset_test_split or "test"
    return replace(recipe.data, dataset_train_split=split, dataset_test_split=None, max_train_samples=suite.max_rows)


def _words(recipe: Recipe, suite: PreferenceSuite) -> str:
    data = recipe.data
    name = suite.dataset or data.dataset_name or "the held-out rows of the mixture"
    split = suite.split or ("test" if suite.dataset else data.dataset_test_split or "test")
    return name if data.dataset_mixture is not None and suite.dataset is None else f"{name}, {split}"


def _base(subjects: Sequence[Subject], context: Context) -> Subject:
    from alignment.evaluation.subjects import find_subjects

    return next(
        (subject for subject in subjects if subject.label == "base"),
        find_subjects(context.recipe, compare=("base",))[0],
    )
