"""The models that are evaluated: the recipe's base, what it was trained to, or any other folder or id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.fingerprint import digest_of, tokenizer_fingerprint
from alignment.errors import Fault, SetupError
from alignment.hub.bundled import is_bundled
from alignment.modeling.adapter_folder import has_tokenizer, is_adapter, on_base
from alignment.modeling.load import as_saved, load_tokenizer, model_folder
from alignment.modeling.weights_fingerprint import weights_fingerprint
from alignment.recipe import available_recipes, load_recipe
from alignment.recipe.files import recipe_word

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from alignment.recipe import ModelArguments, Recipe

BASE, TRAINED = "base", "trained"


@dataclass(frozen=True)
class Subject:
    """One model under evaluation."""

    label: str
    """`base`, `trained`, or what the user called it."""
    arguments: ModelArguments
    chat_template: str | None
    """Jinja source in place of the tokenizer's own."""

    @property
    def name(self) -> str:
        """Folder or id."""
        return self.arguments.model_name_or_path

    @property
    def slug(self) -> str:
        """The label as the name of a folder."""
        plain = re.sub(r"[^\w.-]+", "-", self.label).strip("-.")
        return plain if plain == self.label else f"{plain[-60:]}-{digest_of(self.label)[:8]}"

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """With the template that the model is asked through."""
        return load_tokenizer(on_base(self.arguments), chat_template=self.chat_template)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What makes an answer this model's: its weights, and the tokenizer with its template."""
        return {
            "name": self.name,
            "weights": self._weights,
            "tokenizer": tokenizer_fingerprint(self.tokenizer),
        }

    @property
    def _weights(self) -> str:
        """A fingerprint; of adapters and their base, where it is a folder of adapters."""
        base = weights_fingerprint(model_folder(on_base(self.arguments)))
        return digest_of([base, weights_fingerprint(Path(self.name))]) if is_adapter(self.name) else base


def find_subjects(
    recipe: Recipe, *, model: str | None = None, compare: Sequence[str] = (), base: bool = False
) -> list[Subject]:
    """The models to evaluate, in order.

    Args:
        model: folder or id instead of the recipe's trained model.
        compare: several instead: `base`, `trained`, folders, ids, or recipes, which stand for what they were
            trained to.
        base: put the base model first, for what is measured before and after.

    Raises:
        SetupError: a folder that holds no model, or one model twice.
    """
    names = list(compare) or [*([BASE] if base else []), model or TRAINED]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise SetupError(Fault(key="COMPARE", value=", ".join(sorted(twice)), rule="is named twice"))
    return [_subject(name, recipe) for name in names]


def _subject(name: str, recipe: Recipe) -> Subject:
    source = recipe.data.chat_template
    if name == BASE:
        return Subject(BASE, recipe.model, source)
    place = recipe.training["output_dir"] if name == TRAINED else name
    if name != TRAINED and not Path(name).exists() and name in available_recipes():
        place = load_recipe(name).training["output_dir"]
    folder = Path(place).expanduser()
    if folder.is_dir() and (folder / "config.json").is_file():
        return Subject(name, as_saved(recipe.model, str(folder)), None)
    if is_adapter(str(folder)):
        template = None if has_tokenizer(str(folder)) else recipe.data.chat_template
        return Subject(name, as_saved(recipe.model, str(folder)), template)
    if folder.exists() or name == TRAINED or place != name:
        word = recipe_word(recipe.path) if name == TRAINED else name
        untrained = f"run `make train RECIPE={word}` first, or name a model: MODEL=..."
        remedy = "name one that save_pretrained wrote" if name != TRAINED and place == name else untrained
        raise SetupError(Fault(key="MODEL", value=str(place), rule="holds no trained model", remedy=remedy))
    if not is_bundled(name) and name.count("/") != 1:
        known = f"{BASE}, {TRAINED}, a folder, a recipe, or a Hub id such as google/gemma-2-9b-it"
        raise SetupError(Fault(key="MODEL", value=name, rule="is no model", remedy=f"give {known}"))
    return Subject(name, as_saved(recipe.model, name), None)
