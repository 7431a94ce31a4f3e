"""`alignment generate`: ask a recipe's trained model."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides
from alignment.errors import Fault, SetupError

MOST_TOKENS = 2**20
COLDEST, HOTTEST = 1e-3, 100.0
"""Temperatures by which logits can be divided in 16 bits and still say something."""


def generate(
    prompt: Annotated[str, typer.Option("--prompt", help="What to ask.", show_default=False)],
    words: Words = None,
    config: Config = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Folder or Hub id to ask instead of the recipe's output_dir.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option("--max_new_tokens", help="Longest answer.")] = 200,
    temperature: Annotated[float, typer.Option("--temperature", help="0 is greedy.")] = 0.0,
) -> None:
    """Ask the trained model of a recipe.

    The answer stops at every stop token of the chat template, and is greedy unless a temperature is given.
    """
    if not 1 <= max_new_tokens <= MOST_TOKENS:
        rule = f"must be at least 1 and at most {MOST_TOKENS}"
        raise SetupError(Fault(key="max_new_tokens", value=max_new_tokens, rule=rule, remedy="200 is the default"))
    if temperature != 0 and not COLDEST <= temperature <= HOTTEST:
        rule = f"must be 0 (greedy), or between {COLDEST:g} and {HOTTEST:g}"
        remedy = "0.7 is lively, 1 is the model's own distribution"
        raise SetupError(Fault(key="temperature", value=temperature, rule=rule, remedy=remedy))
    if not prompt.strip():
        raise SetupError(
            Fault(key="prompt", rule="is empty", remedy='give one: make generate PROMPT="Why is the sky blue?"')
        )
    source, overrides = recipe_and_overrides(words, config)

    import torch

    from alignment.generation.ask import answer, trained_model
    from alignment.modeling.load import as_saved
    from alignment.recipe import load_recipe
    from alignment.run.train import chat_template

    recipe = load_recipe(source, overrides)
    asked = dataclasses.replace(
        as_saved(recipe.model, model or str(trained_model(recipe))),
        dtype="bfloat16" if torch.cuda.is_available() else "float32",
    )
    answer(
        asked,
        prompt,
        chat_template=chat_template(recipe),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
    )
