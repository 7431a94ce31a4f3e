"""What `make check` shows of the data that is on this machine: nothing is downloaded, and nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from alignment.data import load_dataset_splits, prepare_rows
from alignment.data.at_hand import NOT_HERE, is_local, nothing, source_ids
from alignment.data.cleaning import OVERLAP, Finding, clean
from alignment.data.files import find_local, read_local
from alignment.data.load import Splits, requests_of
from alignment.data.margins import margins_of, scores_of
from alignment.data.pair_view import pair_view
from alignment.data.report import data_report, spread, token_report
from alignment.data.slices import split_name
from alignment.errors import DataError, Fault, SetupError, UserError
from alignment.files import cache_root
from alignment.hub.bundled import bundled_folder, is_bundled
from alignment.hub.offline import offline
from alignment.methods import METHODS
from alignment.recipe.fields import fields_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from alignment.data.row_findings import OnBadRow
    from alignment.data.token_rules import Rules
    from alignment.recipe import Recipe
    from alignment.recipe.cleaning import Action
    from alignment.recipe.schema import DataArguments

TOKEN_ROWS = 1000
"""Rows of a split that are tokenized, evenly spread over it."""


def inspect(recipe: Recipe) -> dict[str, Any]:
    """The data report of a recipe, and one row as the model sees it.

    Returns `data`, or `None` with the reason in `data_missing`; likewise `tokens` (split -> report) with
    `tokens_missing`, and `pair`.

    Raises:
        DataError: local data that cannot be read, or of which no row is good.
    """
    found: dict[str, Any] = {**nothing(None), "tokens_missing": None}
    with offline():
        try:
            splits = _rows(recipe, on_bad_row="drop")
        except DataError as error:
            if all(is_local(name) for name in source_ids(recipe.data)):
                _rows(recipe, on_bad_row=recipe.data.on_bad_row)  # which names them
                raise
            return nothing(_reason(error))
        cleaning, missing = _cleaned(recipe, splits)
        told = [finding.as_facts() for finding in cleaning]
        found["data"] = {**report_of(recipe, splits), "cleaning": told, "cleaning_missing": missing}
        try:
            tokenizer = _tokenizer(recipe)
        except UserError as error:
            return {**found, "tokens_missing": _reason(error)}
        rules = token_rules(recipe)
        found["pair"] = pair_view(splits.train, tokenizer, rules)
        found["tokens"] = {name: _tokens(rows, tokenizer, rules) for name, rows in splits.parts.items()}
    return found


def report_of(recipe: Recipe, splits: Splits) -> dict[str, Any]:
    """`data_report`, with the scores of the sources."""
    if METHODS[recipe.method].data != "preference":
        return data_report(splits)
    read = {facts.name for facts in splits.sources}
    requests = requests_of(replace(recipe.data, dataset_test_split=_test(recipe)))
    scores = scores_of([request for request in requests if request.name in read])
    margins = {name: margins_of(rows, scores) for name, rows in splits.parts.items()}
    return data_report(splits, margins=margins)


def token_rules(recipe: Recipe) -> Rules:
    """How the recipe's rows become tokens, read without importing the method's config class."""
    defaults = fields_of(recipe.method).defaults
    return METHODS[recipe.method].token_rules(lambda key: recipe.training.get(key, defaults.get(key)))


def _rows(recipe: Recipe, *, on_bad_row: OnBadRow) -> Splits:
    """The good rows, before duplicates and overlaps are looked for."""
    data = replace(
        recipe.data, on_bad_row=on_bad_row, deduplicate=None, decontaminate=None, dataset_test_split=_test(recipe)
    )
    kind = METHODS[recipe.method].data
    return load_dataset_splits(data, kind=kind, cache=cache_root())


def _test(recipe: Recipe) -> str | None:
    """The test split; of local data that are not evaluated on, the one that is stated, or `test`, if it is there."""
    data = recipe.data
    path = find_local(data.dataset_name) if data.dataset_name else None
    split = recipe.resolved.get("dataset_test_split") or "test"
    if data.dataset_test_split is not None or path is None or data.dataset_train_split == split:
        return data.dataset_test_split
    try:
        read_local(path, split_name(split), data.dataset_config)
    except DataError:
        return None
    return split


def _cleaned(recipe: Recipe, splits: Splits) -> tuple[Sequence[Finding], str | None]:
    """What the recipe's `deduplicate` and `decontaminate` find, or why that cannot be said."""
    data = recipe.data
    asked = replace(
        data,
        deduplicate=data.deduplicate and replace(data.deduplicate, action="report"),
        decontaminate=data.decontaminate and replace(data.decontaminate, action="report"),
    )
    try:
        findings = clean(splits.train, splits.test, asked, cache=cache_root(), key=splits.fingerprints)
    except DataError as error:
        return (), _reason(error)
    return [replace(found, action=_action(found, data)) for found in findings], None


def _action(found: Finding, data: DataArguments) -> Action:
    """What training does with the rows."""
    asked = data.decontaminate if found.reason == OVERLAP else data.deduplicate
    return asked.action if asked is not None else found.action


def _tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """The tokenizer with the recipe's template.

    Raises:
        UserError: it is not at hand, or has no template.
    """
    from alignment.modeling.load import load_tokenizer

    name = recipe.model.tokenizer_name_or_path or recipe.model.model_name_or_path
    if is_bundled(name) and not bundled_folder(name).is_dir():
        raise SetupError(Fault(key=name, rule=NOT_HERE))
    return load_tokenizer(recipe.model, chat_template=recipe.data.chat_template)


def _tokens(rows: Dataset, tokenizer: PreTrainedTokenizerBase, rules: Rules) -> dict[str, Any]:
    """`token_report`, of a sample of many rows; or `missing`, when none of them can be trained on."""
    sample = rows.select(spread(len(rows), TOKEN_ROWS))
    try:
        prepared = prepare_rows(sample, tokenizer, rules, on_bad_row="drop")
    except DataError as error:
        return {"rows": 0, "of": len(rows), "missing": _reason(error)}
    return token_report(prepared, rules, of=len(rows))


def _reason(error: UserError) -> str:
    """Why something cannot be shown; what only lacks a network is not on this machine."""
    fault = error.faults[0]
    absent = "HF_HUB_OFFLINE" in fault.rule or "is not in the cache" in fault.rule
    return f"{fault.value or fault.key} {NOT_HERE}" if absent else str(fault)
