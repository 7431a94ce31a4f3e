"""`alignment push`: publish the finished run of a recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides

if TYPE_CHECKING:
    from alignment.hub.account import Destination
    from alignment.publish.plan import Plan


Private = Annotated[bool, typer.Option("--private", help="Make the repository private.")]
Revision = Annotated[
    str | None,
    typer.Option("--revision", metavar="BRANCH", help="Branch to write to, made when absent (main)."),
]
Tag = Annotated[str | None, typer.Option("--tag", help="Tag to set on the publication.")]
DryRun = Annotated[bool, typer.Option("--dry_run", help="Verify, list files and sizes, show the card; send nothing.")]


def push(
    words: Words = None,
    config: Config = None,
    hub_model_id: Annotated[
        str | None,
        typer.Option("--hub_model_id", metavar="OWNER/NAME", help="Where to; the recipe's hub_model_id when absent."),
    ] = None,
    private: Private = False,
    revision: Revision = None,
    tag: Tag = None,
    dry_run: DryRun = False,
    skip_reload: Annotated[
        bool, typer.Option("--skip_reload", help="Do not load the model before it is sent.")
    ] = False,
) -> None:
    """Publish a finished run on the Hub, verified, in one commit."""
    source, overrides = recipe_and_overrides(words, config)
    from alignment.publish.finished import destination_of, tell
    from alignment.publish.plan import plan_publication
    from alignment.publish.publish import publish
    from alignment.publish.verify import verify_folder
    from alignment.recipe import load_recipe

    recipe = load_recipe(source, overrides)
    folder = Path(recipe.training["output_dir"])
    wanted = destination_of(recipe, repository=hub_model_id)
    wanted = replace(wanted, private=private or wanted.private, revision=revision or wanted.revision, tag=tag)
    if dry_run:
        plan = plan_publication(folder, repository=wanted.repository)
        show(plan, wanted)
        verify_folder(folder, plan, reload=not skip_reload)
        print("\nFit to be published. Nothing was sent (dry run).")
        return
    tell(publish(folder, wanted, reload=not skip_reload), wanted)


def show(plan: Plan, destination: Destination) -> None:
    """Print what would be published: files, sizes and the card."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    where = f"{destination.repository} ({destination.branch}{', private' if destination.private else ''})"
    table = Table(title=f"To {where}", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right")
    for file in plan.files:
        table.add_row(file.name, f"{file.size:,}")
    table.add_section()
    table.add_row(f"{len(plan.files)} files", f"{plan.bytes:,}")
    console.print(table)
    if plan.left_out:
        console.print(f"Stays here: {', '.join(plan.left_out)}", markup=False)
    print(f"\nThe card{' (edited by hand, kept as it is)' if plan.card_kept else ''}:\n")
    print(plan.named("README.md").content().decode())
