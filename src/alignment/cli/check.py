"""What `make check` prints: a recipe and its data at a glance, or everything that is wrong with it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alignment.cli.arguments import Config, as_overrides, is_override
from alignment.errors import EXIT_USER, RecipeError

if TYPE_CHECKING:
    from alignment.recipe import Recipe
    from alignment.recipe.batch import Batch
    from alignment.recipe.loop_recipe import LoopRecipe
    from alignment.recipe.pairs_recipe import PairsRecipe

_WORLD_SIZES = (1, 2, 4, 8, 16)


def check(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE... [--KEY VALUE | KEY=VALUE]",
            help="Recipe names or paths of YAML files, then overrides of their keys.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    every: Annotated[bool, typer.Option("--all", help="Check every recipe that goes by name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, of one recipe.")] = False,
) -> int:
    """Check recipes without training; of a single one, look at the data that is on this machine, too.

    Exit code 2 when one of them is at fault.
    """
    os.environ.setdefault("TQDM_DELAY", "3")  # of the libraries' bars, which read it when they are imported
    from alignment.recipe import available_recipes

    words = list(words or ())
    first = next((at for at, word in enumerate(words) if is_override(word)), len(words))
    names = available_recipes() if every else [*words[:first], *([config] if config else [])]
    if not names:
        raise typer.BadParameter("name one or more recipes, such as quickstart, or give --all")
    overrides = as_overrides(words[first:])
    if as_json:
        if len(names) > 1:
            raise typer.BadParameter("--json takes one recipe")
        return _print_json(names[0], overrides)
    good = [_check_one(name, overrides, short=len(names) > 1) for name in names]
    return 0 if all(good) else EXIT_USER


def _check_one(name: str, overrides: Sequence[str], *, short: bool) -> bool:
    from alignment.recipe import Recipe
    from alignment.recipe.kinds import load_any_recipe

    try:
        recipe = load_any_recipe(name, overrides)
    except RecipeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    if not isinstance(recipe, Recipe):
        _show_other(recipe, short=short)
        return True
    if short:
        print(f"{name}: valid ({recipe.method}, {recipe.model.model_name_or_path})")
    else:
        show(recipe)
    inspected = None if short else _inspected(recipe)
    if inspected is not None:
        _show_data(recipe, inspected)
    _warn(recipe, inspected)
    return True


def _print_json(name: str, overrides: Sequence[str]) -> int:
    """The recipe and its data as one object on stdout; whatever else is said goes to stderr."""
    from alignment.recipe import Recipe
    from alignment.recipe.kinds import load_any_recipe

    with redirect_stdout(sys.stderr):
        recipe = load_any_recipe(name, overrides)
        if not isinstance(recipe, Recipe):
            found = {"valid": True, "recipe": recipe.describe(), "path": str(recipe.path)}
        else:
            inspected = _inspected(recipe)
            found = {**summary(recipe), "warnings": _warn(recipe, inspected), **inspected}
    print(json.dumps(found, indent=2))
    return 0


def summary(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON types: what it states, how its batch is made, and what its saves write."""
    from alignment.recipe.sizes import saves_text

    return {
        "valid": True,
        "recipe": recipe.describe(),
        "path": str(recipe.path),
        "batches": [{"processes": world_size, **batch._asdict()} for world_size, batch in _batches(recipe)],
        "saves": saves_text(recipe.resolved),
    }


def _show_data(recipe: Recipe, inspected: Mapping[str, Any]) -> None:
    from rich.console import Console

    from alignment.cli.check_view import show_inspection

    show_inspection(Console(highlight=False), inspected, on_bad_row=recipe.data.on_bad_row)


def _inspected(recipe: Recipe) -> dict[str, Any]:
    from alignment.data.at_hand import NOT_HERE, absent_sources, nothing

    if absent := absent_sources(recipe.data):
        return nothing(f"{', '.join(absent)} {NOT_HERE}")
    from alignment.run.inspect_data import inspect

    return inspect(recipe)


def _warn(recipe: Recipe, inspected: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Prints what is unusual, as far as the rows at hand tell; the start of a run tells all. Returns it for JSON."""
    from alignment.recipe.guards import acknowledged
    from alignment.recipe.warnings import facts_of, judged, lines_of, with_rows_at_hand

    facts, known = facts_of(recipe.method, recipe.resolved), acknowledged(recipe.resolved)
    if inspected is not None:
        facts = with_rows_at_hand(facts, inspected)
    warned = judged(facts, known)
    for line in lines_of(warned, facts, known):
        print(line)
    return [asdict(warning) for warning in warned]


def show(recipe: Recipe) -> None:
    """Prints every stated key, and how the batch is made on some numbers of processes."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from alignment.recipe.sizes import saves_text

    console = Console()
    settings = Table(title=f"{recipe.name}: {recipe.method}", title_justify="left", show_header=False, box=None)
    for key, value in recipe.resolved.items():
        settings.add_row(key, escape(_shown(value)))
    console.print(settings)
    if recipe.global_batch_size is not None:
        batches = Table(
            title=f"\n{recipe.global_batch_size} rows a step", title_justify="left", box=None, pad_edge=False
        )
        for heading in ("processes", "micro-batch", "accumulation"):
            batches.add_column(heading, justify="right")
        for world_size, batch in _batches(recipe):
            batches.add_row(str(world_size), str(batch.micro_batch), str(batch.accumulation))
        console.print(batches)
    console.print("\n" + escape(saves_text(recipe.resolved)))
    _show_plan(recipe)
    console.print(f"\n[green]valid[/green] {escape(str(recipe.path))}")


def _show_plan(recipe: Recipe) -> None:
    """The three lines of the last plan; planning itself takes longer than a check may."""
    from alignment.planning.summary import kept_summary

    print()
    for line in kept_summary(recipe) or ["fits, steps, hours: make plan tells them, and then they stand here"]:
        print(line)


def _show_other(recipe: PairsRecipe | LoopRecipe, *, short: bool) -> None:
    """Prints every stated key of a recipe that is not one training, those of its sections one a line."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from alignment.recipe.frozen import flat

    told = recipe.describe()
    if short:
        print(f"{recipe.name}: valid ({told['method']}, {recipe.model.model_name_or_path})")
        return
    table = Table(title=f"{recipe.name}: {told['method']}", title_justify="left", show_header=False, box=None)
    for key, value in flat(told["settings"]):
        table.add_row(key, escape(_shown(value)))
    console = Console()
    console.print(table)
    console.print(f"\n[green]valid[/green] {escape(str(recipe.path))}")


def _shown(value: object) -> str:
    return "null" if value is None else ", ".join(map(_shown, value)) if isinstance(value, list | tuple) else str(value)


def _batches(recipe: Recipe) -> list[tuple[int, Batch]]:
    """How a step is made on some numbers of processes, where it can be."""
    from alignment.recipe.batch import Batch, plan_batch

    plans = [(world_size, plan_batch(recipe.resolved, world_size)) for world_size in _WORLD_SIZES]
    return [(world_size, plan) for world_size, plan in plans if isinstance(plan, Batch)]
