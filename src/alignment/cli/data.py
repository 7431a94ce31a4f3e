"""`alignment data`: have everything that a recipe reads on this machine."""

from __future__ import annotations

from alignment.cli.arguments import Config, Words, recipe_and_overrides


def data(words: Words = None, config: Config = None) -> None:
    """Download, check and tokenize what a recipe reads."""
    source, overrides = recipe_and_overrides(words, config)
    from rich.console import Console

    from alignment.cli.check_view import show_report
    from alignment.recipe import load_recipe
    from alignment.recipe.files import recipe_word
    from alignment.run.prepare_data import prepare, print_report

    recipe = load_recipe(source, overrides)
    manifest = prepare(recipe)
    print_report(manifest, recipe=recipe_word(recipe.path))
    show_report(Console(highlight=False), manifest["report"], on_bad_row=recipe.data.on_bad_row)
