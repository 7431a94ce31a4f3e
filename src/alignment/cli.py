"""The command line of every entry point: thin, and without a traceback for a user's mistake."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from alignment.errors import EXIT_USER, UserError


def guarded(main: Callable[[], int | None]) -> int:
    """Run `main`; a user's fault becomes one message on stderr and exit code 2, from the first rank alone."""
    try:
        return main() or 0
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":
            print(f"\n{error}", file=sys.stderr, flush=True)
        return EXIT_USER
    except KeyboardInterrupt:
        print("\nStopped. The same command continues from the last checkpoint.", file=sys.stderr)
        return 130


def recipe_arguments(description: str, argv: Sequence[str] | None = None) -> tuple[str, list[str]]:
    """`--config <recipe>` and everything else, which is an override `--key value` of that recipe."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog="Every other `--key value` overrides a key of the recipe, as strictly checked as the recipe itself.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, metavar="RECIPE", help="recipe name or path of a YAML file")
    known, overrides = parser.parse_known_args(argv)
    return known.config, overrides


def train(method: str | None = None, argv: Sequence[str] | None = None) -> None:
    """Entry point of `scripts/<method>.py`: check the recipe, run it, exit."""

    def main() -> None:
        source, overrides = recipe_arguments(f"Train a recipe{f' with {method}' if method else ''}.", argv)
        from alignment.recipe import load_recipe

        recipe = load_recipe(source, overrides, method=method)
        from alignment.run import run

        run(recipe)

    sys.exit(guarded(main))
