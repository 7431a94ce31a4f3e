"""The native code that DeepSpeed compiles at its first start, built so that a killed build blocks no later one.

PyTorch marks a build in progress by a file named `lock` and waits for it to go away, for ever if its owner was killed.
Here builds take turns under a lock of the operating system, which ends with its owner; so a `lock` found while holding
that one is stale.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import torch


def build_extensions(*, optimizer_on_cpu: bool) -> None:
    """Build, or load, what DeepSpeed needs on this machine. Every process calls it before DeepSpeed starts.

    Args:
        optimizer_on_cpu: whether optimizer states are offloaded to host memory, which needs DeepSpeed's CPU Adam.
    """
    import deepspeed
    from deepspeed.accelerator import get_accelerator
    from filelock import FileLock

    wanted = (["ShareMemCommBuilder"] if get_accelerator().device_name() == "cpu" else []) + (
        ["CPUAdamBuilder"] if optimizer_on_cpu else []
    )
    if not wanted:
        return
    folder = build_folder()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["TORCH_EXTENSIONS_DIR"] = str(folder)
    with FileLock(folder / "building"):
        for stale in folder.glob("*/lock"):
            stale.unlink()
        for name in wanted:
            builder = get_accelerator().create_op_builder(name)
            if builder is not None and deepspeed.ops.__compatible_ops__.get(builder.NAME, False):
                builder.load()


def build_folder() -> Path:
    """Where the builds of this environment lie: one folder each, so that two environments don't rebuild in turns."""
    stated = os.environ.get("TORCH_EXTENSIONS_DIR")
    if stated:
        return Path(stated)
    from torch.utils.cpp_extension import get_default_build_root

    environment = hashlib.sha256(f"{sys.prefix} {sys.version} {torch.__version__}".encode()).hexdigest()
    return Path(get_default_build_root()) / f"alignment-{environment[:12]}"
