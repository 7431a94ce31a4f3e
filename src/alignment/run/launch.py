"""`accelerate launch` with an end that says what happened: `python -m alignment.run.launch <its own arguments>`.

Processes, environment and rendezvous are accelerate's. Added are four things:

- the exit code is that of the process that failed first, and its message stays the last word: no traceback of the
  launcher underneath;
- a process that was killed is named, because it can no longer say so itself;
- the others are ended within `GRACE_SECONDS`, even when they wait for the dead one inside a collective operation;
- SIGTERM asks every process to save a checkpoint and stop, however long that takes, instead of ending them.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import yaml

from alignment.terminal import tidy_output

GRACE_SECONDS = 5
"""How long the other processes may take to end after one has failed."""

ASK_TO_STOP = signal.SIGUSR1
"""What a worker is sent when the launcher is told to stop; see `alignment.run.callbacks.preemption`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Launch; returns the exit code: 0, that of the process that failed first, or 128 + signal."""
    tidy_output()
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    warnings.filterwarnings("ignore", message=r"Port `\d+` is already in use")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    arguments = launch_command_parser().parse_args(argv)
    if (reason := unreadable(arguments.config_file)) is not None:
        print(f"\nThe launch is not possible: {arguments.config_file} {reason}.", file=sys.stderr)
        return 2
    arguments.signals_to_handle = "SIGINT,SIGHUP,SIGQUIT"
    arguments.shutdown_timeout = GRACE_SECONDS
    os.environ.setdefault("OMP_NUM_THREADS", str(threads_per_process(arguments)))
    let_memory_grow()
    for number in (signal.SIGTERM, ASK_TO_STOP):
        signal.signal(number, lambda *_: ask_children_to_stop())
    try:
        launch_command(arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            print(f"\nRank {rank} (process {failure.pid}) was ended by {name}.{WHY.get(name, '')}", file=sys.stderr)
            return 128 - failure.exitcode
        return failure.exitcode
    except SignalException as stop:
        return 128 + stop.sigval
    except subprocess.CalledProcessError as error:
        return error.returncode
    except (ValueError, FileNotFoundError) as error:  # accelerate's words for arguments that cannot be followed
        print(f"\nThe launch is not possible: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def unreadable(configuration: str | None) -> str | None:
    """Why a file is no configuration of accelerate, as a sentence part; `None` when it may be one, or none is named."""
    if configuration is None or not Path(configuration).is_file():
        return None  # accelerate's own message for a missing file is good
    try:
        content = yaml.safe_load(Path(configuration).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        return f"cannot be read: {' '.join(str(error).split())}"
    return None if isinstance(content, dict) else "holds no settings; those in configs/accelerate/ do"


WHY = {
    "SIGKILL": " No reason was given; the usual one is that the machine ran out of memory (see `dmesg`).",
    "SIGSEGV": " It crashed inside native code; `PYTHONFAULTHANDLER=1` shows where.",
}


def let_memory_grow() -> None:
    """Have PyTorch's GPU memory grow in place, unless the user has configured it: micro-batches of changing
    sizes would otherwise leave gaps that no later one fits into. Read when the first GPU memory is taken."""
    if not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys():
        os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def ask_children_to_stop() -> None:
    """Pass a stop on to the workers and go on waiting for them."""
    import psutil

    for worker in psutil.Process().children():
        worker.send_signal(ASK_TO_STOP)


def end_with_launcher() -> None:
    """Have the kernel end this worker when its launcher is gone, even if that was killed. Linux only."""
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        die_with_parent()


def die_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when the one that started it is gone. Linux only."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)


_PR_SET_PDEATHSIG = 1


def threads_per_process(arguments: object) -> int:
    """CPU threads of each process: the machine's cores shared out."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    machines = getattr(arguments, "num_machines", None) or 1
    return max(1, cores * machines // max(1, getattr(arguments, "num_processes", None) or 1))


if __name__ == "__main__":
    sys.exit(main())
