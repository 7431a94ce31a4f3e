"""How a command ends: its exit code, without a traceback for a user's mistake."""

from __future__ import annotations

import atexit
import os
import re
import sys
import time
from collections.abc import Callable
from typing import NoReturn

import typer

from alignment.errors import EXIT_USER, Preempted, UserError
from alignment.files import cache_root
from alignment.run.failure import RunFailed, sentence, write_log

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
    except (SystemExit, GeneratorExit, typer.BadParameter):  # the last is told by typer, with the usage
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
