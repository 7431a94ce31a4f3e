"""`alignment evaluate`: what the recipe's model can do, measured, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides


def evaluate(
    words: Words = None,
    config: Config = None,
    suite: Annotated[str, typer.Option("--suite", help="Suites to run, separated by blanks or commas.")] = "",
    model: Annotated[
        str | None, typer.Option("--model", help="Folder or Hub id to evaluate instead of the trained model.")
    ] = None,
    compare: Annotated[
        str, typer.Option("--compare", help='Several models, separated by blanks: "base trained outputs/other".')
    ] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Set aside what was measured before, and begin anew.")] = False,
) -> None:
    """Evaluate the trained model of a recipe; the same command goes on with what is missing."""
    source, overrides = recipe_and_overrides(words, config)
    from alignment.evaluation.suites import chosen_suites
    from alignment.recipe import load_recipe
    from alignment.terminal import tidy_output

    tidy_output()
    recipe = load_recipe(source, overrides)
    suites = chosen_suites(recipe, suite.replace(",", " ").split())

    from alignment.evaluation.evaluate import evaluate
    from alignment.report.card import renew_card

    evaluate(recipe, suites, model=model, compare=compare.split(), fresh=fresh)
    renew_card(Path(recipe.training["output_dir"]))
