"""One command for a machine with a GPU: what it says without one, that it survives its parts, and that it goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import verify_gpu
from verify_gpu import FAILED, PARTS, PASSED, SKIPPED, WAITING, Outcome, passed_before
from verify_parts import Skipped

SCRIPT = Path(verify_gpu.__file__)
FACTS = {"device": "cpu", "gpu": None, "size": "tiny", "versions": {"torch": "2.13.0"}}


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, env=environment)


def test_without_a_gpu_one_message_and_exit_code_2(tmp_path):
    done = run("--folder", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        "verify-gpu: no CUDA device; --device cpu --size tiny rehearses what a CPU can run"
    ]
    assert not list(tmp_path.iterdir())


def test_a_rehearsal_goes_on_where_the_last_one_ran_out_of_time(tmp_path):
    """Only the first part of this one has passed before; no time is left for the others."""
    first, *others = PARTS
    done = run("--folder", str(tmp_path), "--device", "cpu", "--size", "tiny", "--part", first, "--seconds", "100")
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["name"], found["status"]) == (first, PASSED)
    assert found["evidence"]["segments, window 16"] == "right"
    facts = {**FACTS, "versions": verify_gpu.measure.versions()}
    verify_gpu.write(tmp_path, facts, {first: Outcome(**found)})
    done = run("--folder", str(tmp_path), "--device", "cpu", "--size", "tiny", "--minutes", "0")
    assert done.returncode == 1
    assert f"{first}: {PASSED} before" in done.stdout
    found = json.loads((tmp_path / "verify_gpu.json").read_text())
    assert [(part["name"], part["status"]) for part in found["parts"]] == [
        (first, PASSED),
        *((name, WAITING) for name in others),
    ]
    assert f"| {first} | {PASSED} |" in (tmp_path / "verify_gpu.md").read_text()


@pytest.mark.parametrize(
    ("other", "kept"),
    [({}, ["a"]), ({"versions": {"torch": "2.14.0"}}, []), ({"gpu": "H100"}, []), ({"size": "x"}, [])],
)
def test_only_what_passed_in_the_same_place_counts(tmp_path, other, kept):
    parts = [{"name": "a", "status": PASSED}, {"name": "b", "status": FAILED}, {"name": "c", "status": SKIPPED}]
    path = tmp_path / "verify_gpu.json"
    path.write_text(json.dumps({**FACTS, "parts": parts}))
    assert list(passed_before(path, {**FACTS, **other})) == kept


def test_a_part_that_dies_is_named_with_what_it_said(tmp_path, monkeypatch):
    """As a kernel does that ends the process: here, a script that is none."""
    broken = tmp_path / "broken.py"
    broken.write_text("import os, sys; print('illegal instruction', file=sys.stderr, flush=True); os.abort()")
    monkeypatch.setattr(verify_gpu, "__file__", str(broken))
    options = verify_gpu.argparse.Namespace(device="cpu", size="tiny", folder=tmp_path)
    found = verify_gpu.in_a_process("compilations", options, 60)
    assert found.status == FAILED and "illegal instruction" in found.reason and "exit code -6" in found.reason
    broken.write_text("import time; time.sleep(60)")
    found = verify_gpu.in_a_process("compilations", options, 3)
    assert found.status == FAILED and found.reason == "did not end within 3 s"


def test_a_missing_package_skips_a_part():
    with pytest.raises(Skipped, match="not installed: no_such_package"):
        verify_gpu.runs.need("json", "no_such_package")
