"""Waiting in a terminal and in a log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alignment.terminal import clock, counted, pace

ROOT = Path(__file__).parents[1]


def run(code: str, **variables: str) -> tuple[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TQDM_", "RANK"))}
    environment |= {"PYTHONPATH": str(ROOT / "src"), **variables}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_time():
    assert [clock(0.9), clock(94), clock(3600), clock(7383.2)] == ["0:00", "1:34", "1:00:00", "2:03:03"]
    assert pace(94, 13, 26) == "1:34, 1:34 left"
    assert pace(30, 1, 4) == "0:30, 1:30 left"
    assert [pace(5, 0, 4), pace(60, 4, 4)] == ["0:05", "1:00"]


def test_in_a_log_every_tenth_is_a_line(capfd):
    with counted("Before training", 45, "answers") as advance:
        for _ in range(45):
            advance(1)
    out, err = capfd.readouterr()
    assert "\r" not in out + err
    first, *lines = out.splitlines()
    assert first == "Before training: 45 answers ..."
    # Tenths of 45 are reached with 4.5, 9, 13.5, ...
    counts = [5, 9, 14, 18, 23, 27, 32, 36, 41, 45]
    assert [line.split("  ")[0] for line in lines] == [f"Before training: {count}/45 answers" for count in counts]
    assert lines[0].endswith("0:00, 0:00 left") and lines[-1].endswith("  0:00")


def test_a_batch_of_several_tenths_is_one_line(capfd):
    with counted("x", 10, "answers") as advance:
        for count in (4, 6):
            advance(count)
    assert [line.split("  ")[0] for line in capfd.readouterr().out.splitlines()[1:]] == [
        "x: 4/10 answers",
        "x: 10/10 answers",
    ]


BARS = """
from alignment.terminal import tidy_output
{tidy}
import time
from tqdm.auto import tqdm
for _ in tqdm(range(3), desc="quick"):
    time.sleep(0.11)
print("done")
"""


@pytest.mark.parametrize("rank", ["0", "3"])
def test_quick_bars_of_libraries_stay_out_of_a_log(rank):
    assert "quick" in run(BARS.format(tidy=""), RANK=rank)[1]
    out, err = run(BARS.format(tidy="tidy_output()"), RANK=rank)
    assert (out, err) == ("done\n", "")


def test_long_bars_report_on_the_main_process_alone():
    code = "from alignment import terminal; terminal.LOG_SECONDS = 0.2\n" + BARS.format(tidy="tidy_output()")
    assert "3/3" in run(code)[1]
    assert run(code, RANK="1")[1] == ""


def test_two_messages_are_left_out_and_no_others():
    code = """
import logging, sys, warnings
from alignment.terminal import tidy_output
tidy_output()
logger = logging.getLogger("DeepSpeed")
logger.addHandler(logging.StreamHandler(sys.stdout))
logger.warning("Setting accelerator to CPU. If you have GPU or other accelerator, we were unable to detect it.")
logger.warning("Setting accelerator to something else")
warnings.warn("`is_gradient_checkpointing` is deprecated and will be removed in v6.", FutureWarning)
warnings.warn("`gradient_checkpointing_enable` is deprecated and will be removed in v6.", FutureWarning)
"""
    out, err = run(code)
    assert out == "Setting accelerator to something else\n"
    assert "gradient_checkpointing_enable" in err and "is_gradient_checkpointing" not in err


def test_a_line_is_in_the_log_when_it_is_printed():
    code = "import os; from alignment.terminal import tidy_output; tidy_output(); print('told'); os._exit(0)"
    assert run(code)[0] == "told\n"
