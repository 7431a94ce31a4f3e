"""Which FlashAttention is installed on which GPU, in which order, and what is said meanwhile."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alignment.cli.install_flash import HUB_EXAMPLE, install, run_with_progress, ways
from alignment.errors import SetupError


@pytest.mark.parametrize(
    ("capability", "cuda", "expected"),
    [
        ((9, 0), "12.8", ["flash-attn-4", "kernels", "flash-attn>=2.6"]),
        ((10, 0), "13.0", ["flash-attn-4[cu13]", "kernels", "flash-attn>=2.6"]),
        ((8, 0), "12.8", ["kernels", "flash-attn>=2.6"]),
        ((7, 5), "12.8", []),
    ],
)
def test_prebuilt_first_and_source_last(capability, cuda, expected):
    assert [way.requirement for way in ways(capability, cuda)] == expected


def test_pip_takes_pre_releases_where_there_is_nothing_else_and_leaves_pytorch_alone():
    fa4, hub, source = (way.command("2.13.0+cu130")[4:] for way in ways((9, 0), "13.0"))
    assert fa4 == ["--pre", "flash-attn-4[cu13]", "torch==2.13.0+cu130"]
    assert hub == ["kernels", "torch==2.13.0+cu130"]
    assert source == ["--no-build-isolation", "flash-attn>=2.6", "torch==2.13.0+cu130"]


def test_a_recipe_is_told_how_to_use_it():
    fa4, hub, _ = ways((9, 0), "12.8")
    assert hub.advice == f"recipes use it with `attn_implementation: {HUB_EXAMPLE}`"
    assert fa4.advice == "recipes use it by themselves"


def test_a_long_command_says_that_it_still_runs(capsys):
    command = [sys.executable, "-c", "import time; time.sleep(1); print('built'); raise SystemExit('no nvcc')"]
    assert run_with_progress(command, "building", every=0.2) == "no nvcc"
    assert "building: 0 s ..." in capsys.readouterr().out
    assert run_with_progress([sys.executable, "-c", ""], "nothing") is None


def test_a_gpu_that_no_kernel_serves_is_told_so():
    with pytest.raises(SetupError, match=r"older than compute capability 8\.0\); FlexAttention"):
        install([], "2.13.0")


def test_without_a_gpu_nothing_is_installed():
    command = [sys.executable, "-m", "alignment.cli.install_flash"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "PyTorch sees none here" in done.stderr
    assert "Traceback" not in done.stderr
