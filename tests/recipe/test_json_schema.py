"""The JSON schema takes every shipped recipe, and refuses what the check refuses of single keys."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml

from alignment.files import shipped
from alignment.recipe import available_recipes
from alignment.recipe.files import find_recipe
from alignment.recipe.json_schema import recipe_schema


@pytest.fixture(scope="module")
def validator() -> jsonschema.Validator:
    return jsonschema.Draft202012Validator(recipe_schema())


@pytest.mark.parametrize("name", available_recipes())
def test_shipped_recipes_are_valid(validator: jsonschema.Validator, name: str) -> None:
    validator.validate(yaml.safe_load(find_recipe(name).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"method": "simpo", "gama_beta_ratio": 0.5}, "gama_beta_ratio"),
        ({"method": "simpoo"}, "simpoo"),
        ({"learning_rate": "fast"}, "fast"),
        ({"dataset_mixture": {"datasets": [{"id": "a/b", "wieght": 1.0}]}}, "wieght"),
        ({"method": "pairs", "learning_rate": 1e-6}, "learning_rate"),
        ({"method": "loop", "train": {"extends": "quickstart", "learning_rat": 1e-6}}, "learning_rat"),
        ({"method": "pairs", "generation": {"temprature": 0.8}}, "temprature"),
    ],
)
def test_what_is_no_recipe_is_refused(validator: jsonschema.Validator, recipe: dict[str, Any], said: str) -> None:
    assert any(said in error.message for error in validator.iter_errors(recipe))


def test_keys_say_what_they_are() -> None:
    properties = recipe_schema()["else"]["else"]["properties"]
    assert {"type": "number"} in properties["learning_rate"]["anyOf"]
    silent = [key for key, told in properties.items() if "description" not in told]
    assert silent == ["warmup_ratio"]


def test_the_file_that_editors_read_is_up_to_date() -> None:
    path = shipped("recipes") / "schema.json"
    assert json.loads(path.read_text(encoding="utf-8")) == recipe_schema(), "alignment schema > recipes/schema.json"
    for name in available_recipes():
        first = find_recipe(name).read_text(encoding="utf-8").partition("\n")[0]
        assert first == "# yaml-language-server: $schema=../schema.json", name
