"""What `make check` prints: a recipe at a glance, or everything that is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from alignment.errors import EXIT_USER, Fault, RecipeError

from .batch import Batch, plan_batch
from .files import available_recipes
from .recipe import Recipe, load_recipe

_WORLD_SIZES = (1, 2, 4, 8, 16)
_USAGE = "check_recipe.py <recipe> [<recipe> ...] [--key value ...], or check_recipe.py --all [--key value ...]"


def check(argv: Sequence[str]) -> int:
    """Checks the recipes that `argv` names with its overrides. Returns 0, or 2 when one of them is at fault."""
    words = list(argv)
    every = "--all" in words
    if every:
        words.remove("--all")
    first_option = next((at for at, word in enumerate(words) if word.startswith("--")), len(words))
    names, overrides = words[:first_option], words[first_option:]
    names = available_recipes() if every else names
    if not names:
        raise RecipeError(Fault(key="recipe", rule="must be named", remedy=_USAGE))
    good = [_check_one(name, overrides, short=len(names) > 1) for name in names]
    return 0 if all(good) else EXIT_USER


def _check_one(name: str, overrides: Sequence[str], *, short: bool) -> bool:
    try:
        recipe = load_recipe(name, overrides)
    except RecipeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    if short:
        print(f"{name}: valid ({recipe.method}, {recipe.model.model_name_or_path})")
    else:
        show(recipe)
    return True


def show(recipe: Recipe) -> None:
    """Prints every stated key, and how the batch is made on some numbers of processes."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    settings = Table(title=f"{recipe.name}: {recipe.method}", title_justify="left", show_header=False, box=None)
    for key, value in recipe.resolved.items():
        shown = "null" if value is None else ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        settings.add_row(key, escape(shown))
    console.print(settings)
    if recipe.global_batch_size is not None:
        batches = Table(
            title=f"\n{recipe.global_batch_size} rows a step", title_justify="left", box=None, pad_edge=False
        )
        for heading in ("processes", "micro-batch", "accumulation"):
            batches.add_column(heading, justify="right")
        for world_size in _WORLD_SIZES:
            batch = plan_batch(recipe.resolved, world_size)
            if isinstance(batch, Batch):
                batches.add_row(str(world_size), str(batch.micro_batch), str(batch.accumulation))
        console.print(batches)
    console.print(f"\n[green]valid[/green] {escape(str(recipe.path))}")
