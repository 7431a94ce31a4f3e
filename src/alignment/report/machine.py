"""What a run stood on: library versions, the git commit, the hardware. Facts only, nothing secret."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch",
    "transformers",
    "accelerate",
    "trl",
    "datasets",
    "tokenizers",
    "huggingface_hub",
    "safetensors",
    "deepspeed",
    "peft",
    "bitsandbytes",
    "flash-attn",
    "liger-kernel",
    "numpy",
)
"""Distributions whose versions decide a run's numbers; those not installed are left out."""

_CPUINFO = Path("/proc/cpuinfo")
_GIB = 2**30


def version_facts() -> dict[str, str]:
    """Versions by distribution name, with `python`, `platform` and (when built for it) `cuda`."""
    import torch

    versions = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in LIBRARIES:
        if (version := _installed_version(name)) is not None:
            versions[name] = version
    if torch.version.cuda is not None:
        versions["cuda"] = torch.version.cuda
    return versions


def git_facts(folder: Path) -> dict[str, Any] | None:
    """`{"commit", "dirty"}` of the checkout that holds `folder`; `None` outside a checkout or without git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changes)}


def hardware_facts() -> dict[str, Any]:
    """`{"cpu", "cpu_cores", "ram_gib", "gpus": [{"name", "memory_gib"}]}` of this machine (one node)."""
    import torch

    gpus = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            gpus.append({"name": properties.name, "memory_gib": round(properties.total_memory / _GIB, 1)})
    return {"cpu": _cpu_name(), "cpu_cores": _cores(), "ram_gib": _ram_gib(), "gpus": gpus}


def _installed_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command in `folder`, or `None` where git or the repository is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Cores this process may use, which in a container is fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ram_gib() -> float | None:
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB, 1)
