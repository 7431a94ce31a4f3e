"""`alignment pairs`: make a data set of preference pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.cli.arguments import Config, Words, recipe_and_overrides

if TYPE_CHECKING:
    from alignment.run.make_pairs import Made


def pairs(words: Words = None, config: Config = None) -> None:
    """Make on-policy preference pairs; the same command continues an interrupted run."""
    from alignment.run.launch import end_with_launcher
    from alignment.terminal import tidy_output

    tidy_output()
    end_with_launcher()
    source, overrides = recipe_and_overrides(words, config)
    from alignment.recipe.pairs_recipe import load_pairs_recipe

    recipe = load_pairs_recipe(source, overrides)
    from alignment.run.make_pairs import make_pairs

    made = make_pairs(recipe)
    if made is not None:
        _tell(made)


def _tell(made: Made) -> None:
    before, after = made.statistics["before"], made.statistics["after"]
    print(f"\nPairs: {after['pairs']:,} of {after['prompts_with_pairs']:,} prompts, out of {before['prompts']:,}")
    for why, count in after["prompts_without"].items():
        print(f"  no pair: {count:,} x {why}")
    print(
        f"  chosen scores {after['chosen_minus_rejected']['mean']:.3g} above rejected, and is the longer in "
        f"{after['chosen_longer']:.0%}"
    )
    splits = ", ".join(f"{split} {count:,}" for split, count in made.rows.items())
    print(f"Data set: {made.folder} ({splits} rows; README.md tells about it)")
    print(f'Train on it: make train RECIPE=... ARGS="--dataset_name {made.folder}"')
