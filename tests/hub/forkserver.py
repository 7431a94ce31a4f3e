"""Runs Python scripts in fresh processes that have torch and transformers imported already.

Reads lines `{"argv", "env", "cwd", "out", "err"}` from stdin; answers with a line holding the process id, and when the
script has ended with a line holding its exit code.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback

sys.path.insert(0, os.environ["TESTED_SOURCE"])

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer  # noqa: F401


def main() -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    say("ready")
    for line in sys.stdin:
        job = json.loads(line)
        process = os.fork()
        if process == 0:
            os._exit(run(job))
        say(process)
        _, status = os.waitpid(process, 0)
        say(os.waitstatus_to_exitcode(status))


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def run(job: dict) -> int:
    os.dup2(os.open(job["out"], os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(os.open(job["err"], os.O_WRONLY | os.O_CREAT), 2)
    for name, value in job["env"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    os.chdir(job["cwd"])
    sys.argv = job["argv"]
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
    os._exit(0)  # libraries that were imported only to be shared need no farewell
