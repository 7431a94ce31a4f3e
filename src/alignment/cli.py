"""The command line of every entry point: thin, and without a traceback for a user's mistake."""

from __future__ import annotations

import argparse
import atexit
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from alignment.cache_root import cache_root
from alignment.errors import EXIT_USER, Preempted, UserError
from alignment.failure import RunFailed, sentence, write_log
from alignment.launch import end_with_launcher
from alignment.terminal import tidy_output

PATIENCE = 10.0
"""Seconds that a rank leaves to the one whose message comes first: rank 0 when all share a fault, or the rank that
died when this one only lost contact with it. The launcher then ends this rank before it speaks."""

LOST_PEER = re.compile(r"[Cc]onnection (closed|reset) by peer|[Cc]onnection was likely closed|Broken pipe")


def guarded(main: Callable[[], int | None]) -> int:
    """Run `main`; whatever ends it becomes one message on stderr, whatever the number of ranks, and an exit code:
    2 for a user's fault, 1 for any other, whose traceback is kept in a file."""
    try:
        return main() or 0
    except UserError as error:
        return last_word(str(error), EXIT_USER, wait=os.environ.get("RANK", "0") != "0")
    except RunFailed as error:
        return last_word(str(error), 1, wait=lost_peer(error))
    except Preempted as stop:
        if os.environ.get("RANK", "0") == "0":
            print(f"\n{stop} The same command continues from there.", file=sys.stderr, flush=True)
        return 0
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print("\nStopped.", file=sys.stderr)
        return 130
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # native extensions panic with exceptions that are no `Exception`
        log = write_log(error, cache_root())
        told = f"The command failed: {sentence(error)}; the full traceback is in {log}."
        return last_word(told, 1, wait=lost_peer(error))


def last_word(message: str, code: int, *, wait: bool) -> int:
    """Print `message`, after the ranks that know more have had time to speak; returns `code`."""
    if wait:
        time.sleep(PATIENCE)
    print(f"\n{message}", file=sys.stderr, flush=True)
    return code


def lost_peer(error: BaseException) -> bool:
    """Whether this rank only lost contact with the one that failed."""
    return LOST_PEER.search(str(error)) is not None


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

    leave(guarded(main))


def leave(code: int) -> NoReturn:
    """Exit with `code`. One of several ranks closes its connections and skips the interpreter's own teardown.

    Native threads of gloo and DeepSpeed that come back to Python during it are unwound by force, which now and then
    aborts a process whose work is done and saved. After a failure NCCL's connections are left as they are: closing
    them would wait for ranks that may never come.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        sys.exit(code)
    if code == 0 or distributed.get_backend() == "gloo":
        distributed.destroy_process_group()
    atexit._run_exitfuncs()  # trackers finish their runs here
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    train()
