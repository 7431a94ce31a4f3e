"""`alignment train`: check a recipe, then run it."""

from __future__ import annotations

import warnings

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides


def train(context: typer.Context, words: Words = None, config: Config = None) -> None:
    """Train a recipe; the same command continues an interrupted run."""
    from alignment.run.launch import end_with_launcher, let_memory_grow
    from alignment.terminal import tidy_output

    tidy_output()
    let_memory_grow()  # a single process has no launcher
    # PyTorch deprecates names that DeepSpeed still calls, at every collective operation.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    end_with_launcher()
    source, overrides = recipe_and_overrides(words, config)
    from alignment.recipe import load_recipe

    recipe = load_recipe(source, overrides, method=context.obj)
    from alignment.run.train import run

    run(recipe)
