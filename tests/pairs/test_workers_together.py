"""Making pairs in processes of its own: killed in each stage, and shared by two workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from paired import ROOT

from alignment.run.make_pairs import make_pairs

pytestmark = pytest.mark.slow


def test_a_run_killed_in_each_stage_goes_on_and_makes_what_an_undisturbed_one_makes(place):
    killed = place.start("--generation.tokens_per_batch", "30")
    while len(place.lines("answers")) < 5:
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    drawn = place.lines("answers")
    assert 5 <= len(drawn) < 36
    killed = place.start(KILL_AT="11")
    assert killed.wait() == -signal.SIGKILL
    assert place.lines("answers")[: len(drawn) - 1] == drawn[:-1]
    assert len(place.lines("answers")) == 36 and len(place.lines("scores")) == 8
    last = place.start()
    told, errors = last.communicate()
    assert last.returncode == 0, errors
    assert "Data set:" in told
    assert len(place.scored()) == 11 + 28  # the batch that was being scored is scored again
    made = {split: place.rows(split) for split in ("train", "test")}
    make_pairs(place.recipe(output="undisturbed"))
    assert made == {split: place.rows(split, output="undisturbed") for split in ("train", "test")}


def test_two_workers_of_the_launcher_make_one_data_set(place):
    words = [sys.executable, "-m", "alignment.run.launch", "--config_file", str(ROOT / "configs/accelerate/ddp.yaml")]
    words += ["--num_processes", "2", "--main_process_port", "0", str(ROOT / "scripts/pairs.py")]
    done = subprocess.run(
        [*words, "--config", str(place.file), "--output_dir", str(place.output)],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Data set:") == 1
    assert [len(part.read_text().splitlines()) for part in place.parts("answers")] == [18, 18]
    make_pairs(place.recipe(output="alone"))
    for split in ("train", "test"):
        assert place.rows(split) == place.rows(split, output="alone")
