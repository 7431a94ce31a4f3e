"""How many rows a run trains on and how long they are: counted where they are at hand, stated where they are not."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from transformers import AutoTokenizer

from alignment.data import load_dataset_splits, prepare_splits
from alignment.data.files import find_local
from alignment.data.pairs import read_pair
from alignment.errors import DataError
from alignment.files import cache_root
from alignment.hub.bundled import is_bundled
from alignment.methods import METHODS
from alignment.modeling.at_hand import at_hand, bundled_folder
from alignment.modeling.flops import PairLengths
from alignment.modeling.load import load_tokenizer
from alignment.recipe import Recipe
from alignment.recipe.settings import Settings

CHARACTERS = 4
"""Of a token of English text, where no tokenizer is at hand."""
KNOWN_ROWS: Mapping[str, tuple[int, int]] = {
    "princeton-nlp/gemma2-ultrafeedback-armorm": (59_569, 1_941),
    "HuggingFaceH4/ultrafeedback_binarized": (61_135, 2_000),
}
"""Training and test rows of data sets on the Hub, as their cards have them."""
ASSUMED_ROWS = (60_000, 2_000)
"""Of any other: what the UltraFeedback sets have."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Lengths in tokens: prompt, chosen and rejected of a pair; of a conversation `(read only, trained, 0)`."""

    train: Sequence[PairLengths]
    test: Sequence[PairLengths]
    source: str
    """Where they come from, as a sentence."""


def rows_of(recipe: Recipe) -> Rows:
    """The rows of the recipe: its own where data and tokenizer are on this machine; nothing is downloaded.

    Raises:
        DataError: rows that are here and cannot be trained on.
    """
    with offline():
        try:
            splits = load_dataset_splits(recipe.data, kind=METHODS[recipe.method].data, cache=cache_root())
        except DataError:
            if not _remote(recipe):
                raise
            return stated_rows(recipe)
        if not _has_tokenizer(recipe):
            return _by_characters(splits)
        return _tokenized(recipe, splits)


@contextmanager
def offline() -> Iterator[None]:
    """No library asks the Hub for anything."""
    import datasets
    import huggingface_hub

    modules: tuple[Any, ...] = (huggingface_hub.constants, datasets.config)
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _remote(recipe: Recipe) -> list[str]:
    """Data sets that no local file or folder has the name of."""
    data = recipe.data
    named = [source.id for source in data.dataset_mixture.datasets] if data.dataset_mixture else [data.dataset_name]
    return [str(name) for name in named if find_local(str(name)) is None]


def _has_tokenizer(recipe: Recipe) -> bool:
    name = recipe.model.tokenizer_name_or_path or recipe.model.model_name_or_path
    if is_bundled(name):
        return bundled_folder(name).is_dir()
    return at_hand(AutoTokenizer, name, recipe.model) is not None


def _tokenized(recipe: Recipe, splits: Any) -> Rows:
    tokenizer = load_tokenizer(recipe.model, chat_template=recipe.data.chat_template)
    method, settings = METHODS[recipe.method], Settings(recipe.method, recipe.resolved, set())
    tokens = prepare_splits(
        splits,
        tokenizer,
        method.token_rules(settings.__getitem__),
        on_bad_row=recipe.data.on_bad_row,
        num_proc=recipe.data.dataset_num_proc,
        cache=cache_root(),
    )
    train, test = lengths_in(tokens.train), [] if tokens.test is None else lengths_in(tokens.test)
    return Rows(train=train, test=test, source=f"{len(train):,} rows, tokenized")


def lengths_in(dataset: Any) -> list[PairLengths]:
    """Of tokenized rows, without reading the tokens of pairs."""
    import pyarrow.compute as compute

    table = dataset.with_format("arrow")[:]
    if "input_ids" in table.column_names:
        whole = compute.list_value_length(table["input_ids"]).to_pylist()
        trained = [sum(label >= 0 for label in labels) for labels in table["labels"].to_pylist()]
        return [(length - own, own, 0) for length, own in zip(whole, trained, strict=True)]
    columns = (compute.list_value_length(table[f"{name}_ids"]) for name in ("prompt", "chosen", "rejected"))
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def _by_characters(splits: Any) -> Rows:
    train, test = ([_estimated(row) for row in part] if part is not None else [] for part in splits[:2])
    source = f"{len(train):,} rows; their tokens are estimated as {CHARACTERS} characters each: no tokenizer is here"
    return Rows(train=train, test=test, source=source)


def _estimated(row: Mapping[str, Any]) -> PairLengths:
    if row.get("messages"):
        answers = [message for message in row["messages"] if message["role"] == "assistant"]
        trained = _tokens(answers)
        return _tokens(row["messages"]) - trained, trained, 0
    prompt, chosen, rejected = map(_tokens, read_pair(row))
    return prompt, chosen, rejected


def _tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    return max(1, sum(len(message["content"] or "") // CHARACTERS + 4 for message in messages))


def stated_rows(recipe: Recipe) -> Rows:
    """Rows that are nowhere near: as many as the data set is known to have, of assumed lengths."""
    data, settings = recipe.data, Settings(recipe.method, recipe.resolved, set())
    name = data.dataset_name if data.dataset_mixture is None else None
    known = KNOWN_ROWS.get(str(name))
    counts = [
        count if limit is None else min(count, limit)
        for count, limit in zip(known or ASSUMED_ROWS, (data.max_train_samples, data.max_eval_samples), strict=True)
    ]
    evaluated = settings.strategy("eval_strategy") != "no"
    longest = settings["max_length"] or 2048
    pairs = METHODS[recipe.method].data == "preference"
    train, test = (assumed_lengths(count, longest=longest, pairs=pairs) for count in counts)
    source = (
        f"{len(train):,} rows {'as the data set is known to have' if known else 'assumed'}, their lengths assumed: "
        "prompts of 212 tokens on average, answers of 400, as UltraFeedback's (`make data` brings the true ones)"
    )
    return Rows(train=train, test=test if evaluated else [], source=source)


def assumed_lengths(count: int, *, longest: int, pairs: bool) -> list[PairLengths]:
    """Log-normal prompts (mean 212 tokens) and answers (mean 400, correlated by 0.85 in a pair), cut at `longest`."""
    rng = random.Random(0)
    lengths: list[PairLengths] = []
    for _ in range(count):
        prompt = math.exp(rng.gauss(math.log(200) - 1.1**2 / 2, 1.1)) + 12
        common, *own = (rng.gauss(0, 1) for _ in range(3))
        answers = [math.exp(math.log(400) - 0.55**2 / 2 + 0.55 * (0.85**0.5 * common + 0.15**0.5 * z)) for z in own]
        prompt = min(int(0.88 * longest), max(3, round(prompt)))
        chosen, rejected = (min(longest - prompt, max(2, round(answer))) for answer in answers)
        lengths.append((prompt, chosen, rejected if pairs else 0))
    return lengths
