"""Triton compiles every kernel of the packed path for an H100, and each fits into a multiprocessor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULT = HERE.parents[1] / "benchmarks/results/kernels_sm90.json"
SHARED_MEMORY_BYTES = 227 * 1024
"""That a block may have on compute capability 9.0."""


def test_the_kernels_of_the_packed_path_compile_for_an_h100():
    environment = {**os.environ, "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    done = subprocess.run([sys.executable, HERE / "sm90.py", RESULT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    kernels = json.loads(RESULT.read_text())["kernels"]
    functions = {kernel["function"] for kernel in kernels}
    for name in ("flex_attention, head size 256, soft-cap 50, window None", "offset_rms_norm", "gated activation"):
        assert {f"{name}, forward", f"{name}, backward"} <= functions
    assert {f"head, {name}, forward" for name in ("capped", "block_statistics", "block_gradients")} <= functions
    too_large = [kernel for kernel in kernels if kernel["shared_memory_bytes"] > SHARED_MEMORY_BYTES]
    assert not too_large
