"""The command line of every entry point: thin, and without a traceback for a user's mistake."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence

from alignment.errors import EXIT_USER, Preempted, UserError
from alignment.launch import end_with_launcher
from alignment.terminal import tidy_output

PATIENCE = 10.0
"""Seconds that a rank leaves to the one whose message comes first: rank 0 when all share a fault, or the rank that
died when this one only lost contact with it. The launcher then ends this rank before it speaks."""

LOST_PEER = re.compile(r"[Cc]onnection (closed|reset) by peer|[Cc]onnection was likely closed|Broken pipe")


def guarded(main: Callable[[], int | None]) -> int:
    """Run `main`; a user's fault becomes one message on stderr and exit code 2, whatever the number of ranks."""
    try:
        return main() or 0
    except UserError as error:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(PATIENCE)
        print(f"\n{error}", file=sys.stderr, flush=True)
        return EXIT_USER
    except Preempted as stop:
        if os.environ.get("RANK", "0") == "0":
            print(f"\n{stop} The same command continues from there.", file=sys.stderr, flush=True)
        return 0
    except RuntimeError as error:
        if LOST_PEER.search(str(error)):
            time.sleep(PATIENCE)
        raise
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print("\nStopped.", file=sys.stderr)
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
        tidy_output()
        # PyTorch deprecates names that DeepSpeed still calls, at every collective operation.
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
        end_with_launcher()
        source, overrides = recipe_arguments(f"Train a recipe{f' with {method}' if method else ''}.", argv)
        from alignment.recipe import load_recipe

        recipe = load_recipe(source, overrides, method=method)
        from alignment.run import run

        run(recipe)

    code = guarded(main)
    leave_process_group(failed=code != 0)
    sys.exit(code)


def leave_process_group(*, failed: bool) -> None:
    """Close the connections to the other ranks: gloo's threads, still running at exit, at times abort the process.

    After a failure NCCL's are left as they are, since closing them would wait for ranks that may never come.
    """
    if "torch" not in sys.modules:
        return
    from torch import distributed

    connected = distributed.is_available() and distributed.is_initialized()
    if connected and (not failed or distributed.get_backend() == "gloo"):
        distributed.destroy_process_group()
