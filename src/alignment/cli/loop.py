"""`alignment loop`: rounds of pairs, training and evaluation."""

from __future__ import annotations

from typing import Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides


def loop(
    words: Words = None,
    config: Config = None,
    pairs_launcher: Annotated[
        str, typer.Option("--pairs_launcher", help="Words that start the workers of pairs, before `-m alignment.cli`.")
    ] = "",
    train_launcher: Annotated[
        str, typer.Option("--train_launcher", help="The same for the processes of a training.")
    ] = "",
) -> None:
    """Make pairs of the model's own answers, train on them, evaluate, again; the same command continues."""
    from alignment.terminal import tidy_output

    tidy_output()
    source, overrides = recipe_and_overrides(words, config)
    from alignment.recipe.loop_recipe import load_loop_recipe

    recipe = load_loop_recipe(source, overrides)
    from alignment.run.loop import run_loop
    from alignment.run.loop_stages import Launchers

    run_loop(recipe, Launchers(pairs=pairs_launcher, train=train_launcher))
