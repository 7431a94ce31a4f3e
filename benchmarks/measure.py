"""Timing, memory, versions and the figure that the CPU and GPU benchmarks share."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
Measured = dict[str, Any]
"""Of one arm: `seconds` and `wall_seconds`, one a round, `warm_up_seconds`, and the `loss` of the last round."""
CPU_PRODUCT = (1024, 1024, 1024)
"""Rows, inner size and columns of a product that keeps a CPU's core busy."""
PACKAGES = ("torch", "transformers", "trl", "flash-attn", "liger-kernel", "triton")


def interleaved(
    arms: Mapping[str, Callable[[], float]],
    rounds: int,
    report: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.perf_counter,
    deadline: float = math.inf,
    guard: Callable[[str], AbstractContextManager[None]] = nullcontext,
    after: Callable[[str, Measured], None] = lambda name, measured: None,
) -> dict[str, Measured]:
    """Run every arm once a round, so that a machine that slows down slows all of them down.

    Args:
        clock: `time.process_time` for one thread on a shared machine: what wall time would be on a core of its own.
        deadline: of `time.perf_counter`; no round is begun that would not end by then, if it took as long as the last.
        guard: entered around every call of an arm with its name. An arm whose exception it swallows is not run again.
        after: called after every call of an arm with what has been measured of it, so that it can be kept.

    Returns:
        What was measured of every arm that did not fail. A first, unrecorded round warms up.
    """
    measured: dict[str, Measured] = {}
    running = dict(arms)
    for number in range(rounds + 1):
        round_began = time.perf_counter()
        for name, arm in list(running.items()):
            del running[name]
            with guard(name):
                synchronize()
                wall, began = time.perf_counter(), clock()
                loss = arm()
                synchronize()
                seconds, wall = clock() - began, time.perf_counter() - wall
                found = measured.setdefault(name, {"seconds": [], "wall_seconds": [], "warm_up_seconds": seconds})
                found["loss"] = loss
                if number:
                    found["seconds"].append(seconds)
                    found["wall_seconds"].append(wall)
                after(name, found)
                running[name] = arm
        report(f"round {number} of {rounds}" if number else "warm-up")
        if 2 * time.perf_counter() - round_began > deadline:
            report("the time is up")
            break
    return {name: measured[name] for name in running}


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matmul_tflops(
    rows: int,
    inner: int,
    columns: int,
    *,
    device: str,
    dtype: torch.dtype,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """TFLOP/s of a matrix product `[rows, inner] @ [inner, columns]`, the ceiling of a training step."""
    a = torch.randn(rows, inner, device=device, dtype=dtype)
    b = torch.randn(inner, columns, device=device, dtype=dtype)
    return round(2 * rows * inner * columns / seconds_of(lambda: a @ b, clock=clock) / 1e12, 4)


def seconds_of(call: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one of twenty calls, after three that warm up."""
    for _ in range(3):
        call()
    synchronize()
    started = clock()
    for _ in range(20):
        call()
    synchronize()
    return (clock() - started) / 20


def median(values: list[float]) -> float:
    return statistics.median(values)


def memory_above_now(call: Callable[[], object]) -> float:
    """MiB of this process's peak during `call` above what it held before."""
    Path("/proc/self/clear_refs").write_text("5")  # the kernel forgets the peak so far
    before = _status("VmRSS")
    call()
    return max(0.0, (_status("VmHWM") - before) / 1024)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise ValueError(f"/proc/self/status has no {key}")


def hardware() -> dict[str, Any]:
    """What the numbers were measured on."""
    facts = {"cpu": _cpu_name(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    facts["load_at_start"] = round(os.getloadavg()[0], 2)
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
        facts["gpu_memory_gib"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
    return facts


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write(name: str, result: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(result, indent=1) + "\n")
    unfinished.replace(path)
    return path


def plot(result: Mapping[str, Any], path: Path) -> bool:
    """Seconds and memory of every arm as bars; `False` when matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    arms = [arm for arm in result["arms"] if arm["seconds_median"] is not None]
    names = [arm["name"] for arm in arms]
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.5 * len(names) + 1.6), sharey=True)
    columns = (("seconds_median", "seconds an optimizer step"), ("peak_mib", "peak memory above the idle model, MiB"))
    for axis, (key, label) in zip(axes, columns, strict=True):
        bars = axis.barh(
            names, [arm[key] for arm in arms], color=["#4477aa" if n == "ours" else "#bbbbbb" for n in names]
        )
        axis.bar_label(bars, fmt="%.3g", padding=3)
        axis.set_xlabel(label)
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.suptitle(result["title"])
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def table(arms: list[dict[str, Any]], ratios: Mapping[str, Mapping[str, float]]) -> str:
    """The arms as aligned text; the last column is the share of the machine's matrix-product ceiling."""
    header = f"{'arm':<34}{'seconds':>10}{'peak MiB':>10}{'loss':>14}{'x reference':>13}{'x TRL':>8}{'ceiling':>9}"
    lines = [header]
    for arm in arms:
        if arm["seconds_median"] is None:
            lines.append(f"{arm['name']:<34}{arm['note']}")
            continue
        reference, trl = (ratios[key].get(arm["name"]) for key in ("ratio_to_reference", "ratio_to_trl"))
        shown = [f"{value:.2f}" if value else "-" for value in (reference, trl)]
        lines.append(
            f"{arm['name']:<34}{arm['seconds_median']:>10.3f}{arm['peak_mib']:>10.0f}{arm['loss']:>14.8f}"
            f"{shown[0]:>13}{shown[1]:>8}{arm['share_of_ceiling']:>9.1%}"
        )
    return "\n".join(lines)


def ratios_to(arms: list[dict[str, Any]], baseline: str) -> dict[str, float]:
    """How many times faster than the baseline every arm is."""
    seconds = {arm["name"]: arm["seconds_median"] for arm in arms if arm["seconds_median"]}
    if baseline not in seconds:
        return {}
    return {name: round(seconds[baseline] / value, 3) for name, value in seconds.items()}


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
