"""`alignment data`: have everything that a recipe reads on this machine."""

from __future__ import annotations

from alignment.cli.arguments import Config, Words, recipe_and_overrides


def data(words: Words = None, config: Config = None) -> None:
    """Download, check and tokenize what a recipe reads."""
    source, overrides = recipe_and_overrides(words, config)
    from alignment.recipe import load_recipe
    from alignment.run.prepare_data import prepare, print_report

    print_report(prepare(load_recipe(source, overrides)))
