"""`make data` and `make push` from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alignment.errors import Fault, SetupError, UserError

if TYPE_CHECKING:
    from alignment.hub.account import Destination
    from alignment.hub.plan import Plan
    from alignment.hub.publish import Receipt
    from alignment.recipe import Recipe


def download(argv: Sequence[str] | None = None) -> None:
    """Fetch, check and tokenise what a recipe reads."""
    from alignment.cli import recipe_arguments

    source, overrides = recipe_arguments("Download and check the model and the data of a recipe, and tokenise.", argv)
    from alignment.recipe import load_recipe

    recipe = load_recipe(source, overrides)
    from alignment.hub.prepare import prepare, print_report

    print_report(prepare(recipe))


def push(argv: Sequence[str] | None = None) -> None:
    """Publish the finished run of a recipe."""
    parser = argparse.ArgumentParser(
        description="Publish the finished run of a recipe on the Hugging Face Hub: verified, in one commit.",
        epilog="Every other `--key value` overrides a key of the recipe, for example --output_dir.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, metavar="RECIPE", help="recipe name or path of a YAML file")
    parser.add_argument("--hub_model_id", metavar="OWNER/NAME", help="where to; the recipe's hub_model_id when absent")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    parser.add_argument("--revision", metavar="BRANCH", help="branch to write to, made when absent (main)")
    parser.add_argument("--tag", help="tag to set on the publication")
    parser.add_argument(
        "--dry_run", action="store_true", help="verify, list files and sizes, show the card; send nothing"
    )
    parser.add_argument("--skip_reload", action="store_true", help="do not load the model before it is sent")
    args, overrides = parser.parse_known_args(argv)

    from dataclasses import replace

    from alignment.hub.plan import plan_publication
    from alignment.hub.publish import publish
    from alignment.hub.verify import verify_folder
    from alignment.recipe import load_recipe

    recipe = load_recipe(args.config, overrides)
    folder = Path(recipe.training["output_dir"])
    wanted = destination_of(recipe, repository=args.hub_model_id)
    wanted = replace(
        wanted,
        private=args.private or wanted.private,
        revision=args.revision or wanted.revision,
        tag=args.tag,
    )
    if args.dry_run:
        plan = plan_publication(folder, repository=wanted.repository)
        _show(plan, wanted)
        verify_folder(folder, plan, reload=not args.skip_reload)
        print("\nFit to be published. Nothing was sent (dry run).")
        return
    _tell(publish(folder, wanted, reload=not args.skip_reload), wanted)


def destination_of(recipe: Recipe, *, repository: str | None = None) -> Destination:
    """Where a recipe's model goes: its `hub_model_id`, or the name of its output folder in one's own account."""
    from alignment.hub.account import Destination

    training = recipe.training
    return Destination(
        repository=repository or training.get("hub_model_id") or Path(training["output_dir"]).name,
        private=training.get("hub_private_repo"),
        revision=training.get("hub_revision"),
    )


def publish_finished(recipe: Recipe) -> Receipt:
    """What `push_to_hub: true` does when training has ended. Call it on one process, after everything is saved.

    Raises:
        SetupError: it could not be published; says that the model is safe and how to push it later.
    """
    from alignment.callbacks.tracking import link_model
    from alignment.hub.publish import publish

    folder = Path(recipe.training["output_dir"])
    later = f"push it later: make push RECIPE={recipe.name}"
    try:
        wanted = destination_of(recipe)
        receipt = publish(folder, wanted)
    except UserError as error:
        safe = Fault(key="the model", rule=f"is finished and safe in {folder}", remedy=later)
        raise SetupError([*error.faults, safe], where="trained, but not published") from error
    except Exception:
        print(f"\nThe model is finished and safe in {folder}; {later}", flush=True)
        raise
    link_model(recipe.training.get("report_to") or (), receipt.url)
    _tell(receipt, wanted)
    return receipt


def _tell(receipt: Receipt, destination: Destination) -> None:
    done = "Published" if receipt.sent else "Already published"
    where = f", branch {destination.revision}" if destination.revision else ""
    tagged = f", tag {destination.tag}" if destination.tag else ""
    print(f"\n{done}: {receipt.repository}{where}{tagged}\n{receipt.url}")
    print("Every file was compared with what is on the Hub.")


def _show(plan: Plan, destination: Destination) -> None:
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
