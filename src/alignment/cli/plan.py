"""`alignment plan`: how many GPUs, how long, and whether it fits, before anything runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from alignment.planning.options import Option
    from alignment.planning.plan import Plan


def plan(
    words: Words = None,
    config: Config = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="KIND", help="h100-80, h200, a100-80, l40s, 4090, ..., or cpu.")
    ] = None,
    nproc: Annotated[int | None, typer.Option("--nproc", metavar="N", help="GPUs of one machine.")] = None,
    nnodes: Annotated[int | None, typer.Option("--nnodes", metavar="N", help="Machines.")] = None,
    price: Annotated[
        float | None, typer.Option("--price_per_gpu_hour", metavar="PRICE", help="Of one GPU for an hour.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Plan a recipe: memory, time and price of every way to run it, without a GPU and without its weights."""
    source, overrides = recipe_and_overrides(words, config)
    import contextlib
    import sys

    from alignment.recipe import load_recipe

    recipe = load_recipe(source, overrides)
    with contextlib.redirect_stdout(sys.stderr):  # what libraries say is no part of the answer
        from alignment.planning import plan as planning
        from alignment.planning.summary import keep_summary

        request = planning.Request(gpu=gpu, processes=nproc, machines=nnodes, price=price, overrides=tuple(overrides))
        found = planning.plan(recipe, request)
        content = planning.as_json(found)
        if (gpu, nproc, nnodes) == (None, None, None):
            keep_summary(recipe, content)
    if as_json:
        print(json.dumps(content, indent=2))
    else:
        show(found)


def show(found: Plan) -> None:
    """Print what is known of the run, a line for each number of each GPU, and what is recommended."""
    from rich.console import Console
    from rich.markup import escape

    from alignment.planning.plan import disk_gib

    case, console = found.case, Console(soft_wrap=True)
    trained = "" if case.model.trainable == case.model.parameters else f", {case.model.trainable:,} of adapters trained"
    console.print(f"[bold]{escape(case.recipe.name)}[/bold]: {case.method.title}")
    console.print(f"{case.model.parameters:,} weights{trained} ({escape(case.model.source)})")
    console.print(f"{found.shown.steps:,} steps of {found.tokens_per_step:,} tokens; {escape(case.rows.source)}")
    console.print(f"{found.share.value:.0%} of the bf16 peak, {escape(found.share.reason)}")
    disk = disk_gib(case)
    console.print(f"Disk: {disk['final']:.1f} GiB for the final model, {disk['checkpoint']:.1f} GiB a checkpoint\n")
    console.print(_table(found))
    console.print("tokens: of a micro-batch; again: layers that are computed again in the backward pass")
    for line in found.left_out:
        console.print(f"left out: {escape(line)}")
    _show_best(found, console)


def _table(found: Plan) -> Table:
    """For each number of each GPU the quickest option that fits, or the one that comes nearest."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    headings = ("GPU", "count", "spread by", "GiB", "of", "fits", "tokens", "again", "minutes", "GPU-hours")
    for heading in (*headings, *(["price"] if found.request.price else [])):
        table.add_column(heading, justify="left" if heading in ("GPU", "spread by") else "right", no_wrap=True)
    groups: dict[tuple[str, int], list[Option]] = {}
    for option in found.options:
        groups.setdefault((option.gpu, option.count), []).append(option)
    for options in groups.values():
        fitting = [option for option in options if option.fits]
        nearest = min(options, key=lambda option: option.total)
        table.add_row(*_row(found, min(fitting, key=lambda option: option.seconds) if fitting else nearest))
    return table


def _row(found: Plan, option: Option) -> list[str]:
    row = [
        option.gpu,
        str(option.count),
        option.configuration,
        f"{option.total / 2**30:.1f}",
        f"{option.available / 2**30:.1f}",
        "yes" if option.fits else "no",
        "-" if option.tokens_per_device is None else f"{option.tokens_per_device:,}",
        str(option.checkpointed_layers),
        f"{option.seconds / 60:,.0f}" if option.fits else "-",
        f"{option.gpu_hours:,.2f}" if option.fits else "-",
    ]
    if found.request.price:
        row.append(f"{found.request.price * option.gpu_hours:,.2f}" if option.fits and option.gpu != "cpu" else "-")
    return row


def _show_best(found: Plan, console: Console) -> None:
    from rich.markup import escape

    from alignment.planning.options import command

    best, shown = found.best, found.shown
    parts = ", ".join(f"{name} {size / 2**30:.1f}" for name, size in shown.memory.items() if size >= 2**30 / 20)
    host = ", ".join(f"{name} {size / 2**30:.0f}" for name, size in shown.host.items())
    what = f"{shown.count} x {shown.gpu} by {shown.configuration}"
    if best is None:
        console.print(f"\n[bold]Nothing fits.[/bold] Nearest comes {what} (GiB each: {parts}).")
        console.print("Try more or larger GPUs, use_peft: true, load_in_4bit: true beside it, or a shorter max_length.")
        return
    console.print(f"\n[bold]Cheapest that works: {what}[/bold] (GiB each: {parts})")
    console.print(f"Host memory, GiB a machine: {host}")
    console.print(f"\n    {escape(command(found.case, best, found.request.overrides))}")
