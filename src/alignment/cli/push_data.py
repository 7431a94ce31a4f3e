"""`alignment push-data`: publish the preference pairs of a recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides
from alignment.cli.push import DryRun, Private, Revision, Tag, show


def push_data(
    words: Words = None,
    config: Config = None,
    hub_dataset_id: Annotated[
        str | None,
        typer.Option(
            "--hub_dataset_id", metavar="OWNER/NAME", help="Where to; the recipe's hub_dataset_id when absent."
        ),
    ] = None,
    private: Private = False,
    revision: Revision = None,
    tag: Tag = None,
    dry_run: DryRun = False,
) -> None:
    """Publish the preference pairs of a recipe on the Hub, verified, in one commit."""
    source, overrides = recipe_and_overrides(words, config)
    from alignment.publish.finished import tell
    from alignment.publish.pairs import destination_of_pairs, plan_pairs, publish_pairs, verify_pairs
    from alignment.recipe.pairs_recipe import load_pairs_recipe

    recipe = load_pairs_recipe(source, overrides)
    wanted = destination_of_pairs(recipe, repository=hub_dataset_id)
    wanted = replace(wanted, private=private or wanted.private, revision=revision or wanted.revision, tag=tag)
    if dry_run:
        plan = plan_pairs(recipe.folder, repository=wanted.repository)
        show(plan, wanted)
        verify_pairs(recipe.folder, plan)
        print("\nFit to be published. Nothing was sent (dry run).")
        return
    tell(publish_pairs(recipe.folder, wanted), wanted)
