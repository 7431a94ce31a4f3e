"""The pairs that preferences are measured on: a data set of their own, or what the recipe holds out."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from alignment.data import load_dataset_splits, prepare_splits
from alignment.data.fingerprint import digest_of
from alignment.errors import Fault, SetupError
from alignment.files import cache_root
from alignment.methods import METHODS
from alignment.recipe.evaluation_settings import PreferenceSuite

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from alignment.recipe import DataArguments, Recipe

_RULES_OF = "simpo"
"""Whose token rules hold where the recipe's method has no pairs."""


def held_out_tokens(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, suite: PreferenceSuite) -> tuple[Dataset, str]:
    """Token rows of the held-out pairs, and what decides them.

    Raises:
        DataError: data that cannot be found, or holds no pairs.
        SetupError: there are no held-out pairs.
    """
    data = _data(recipe, suite)
    splits = load_dataset_splits(data, kind="preference", cache=cache_root())
    if splits.test is not None:
        splits = splits._replace(train=splits.test, test=None, fingerprints={"train": splits.fingerprints["test"]})
    method = METHODS[recipe.method if METHODS[recipe.method].data == "preference" else _RULES_OF]
    config = method.config_class()
    rules = method.token_rules(lambda key: recipe.training.get(key, getattr(config, key)))
    prepared = prepare_splits(
        splits,
        tokenizer,
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
    data = replace(recipe.data, deduplicate=None, decontaminate=None)  # those are for rows that are trained on
    if suite.dataset is not None:
        return replace(
            data,
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
    return replace(data, dataset_train_split=split, dataset_test_split=None, max_train_samples=suite.max_rows)


def held_out_words(recipe: Recipe, suite: PreferenceSuite) -> str:
    """What the pairs are called."""
    data = recipe.data
    name = suite.dataset or data.dataset_name or "the held-out rows of the mixture"
    split = suite.split or ("test" if suite.dataset else data.dataset_test_split or "test")
    return name if data.dataset_mixture is not None and suite.dataset is None else f"{name}, {split}"
