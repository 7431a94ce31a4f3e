"""A build of DeepSpeed's native code that was killed does not block the next start."""

from __future__ import annotations

import shutil

import pytest
from processes import run, single

pytestmark = pytest.mark.slow

BUILD = """
from alignment.run.extensions import build_extensions, build_folder
print(f"builds lie in {build_folder()}")
build_extensions(optimizer_on_cpu=False)
from deepspeed.accelerator import get_accelerator
print(get_accelerator().create_op_builder("ShareMemCommBuilder").load().vector_kernel_level())
"""


def test_a_stale_lock_is_removed_and_the_code_loads(tmp_path):
    """PyTorch alone would wait for ever for the process that left it. Done in a copy: other runs share the builds."""
    script = tmp_path / "build.py"
    script.write_text(BUILD)
    done = run(single(script), tmp_path / "log", {"DS_ACCELERATOR": "cpu"})
    assert done.code == 0, done.output
    folder = next(line for line in done.output.splitlines() if line.startswith("builds lie in ")).split(" in ")[1]
    shutil.copytree(folder, tmp_path / "builds")
    lock = tmp_path / "builds/deepspeed_shm_comm/lock"
    lock.touch()
    environment = {"DS_ACCELERATOR": "cpu", "TORCH_EXTENSIONS_DIR": str(tmp_path / "builds")}
    done = run(single(script), tmp_path / "log", environment)
    assert done.code == 0, done.output
    assert not lock.exists()
