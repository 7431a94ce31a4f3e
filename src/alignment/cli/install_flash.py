"""`make install-flash`: FlashAttention that fits this GPU and this PyTorch, proven by a small computation.

Prebuilt wheels come first, kernels of the Hub second, and building from source, which takes up to an hour, last. What
is installed counts only when it computes a packed row right, forward and backward.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from alignment.errors import Fault, SetupError
from alignment.modeling.attention.flash import HUB_EXAMPLE


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to an attention kernel."""

    backend: str
    """As in `alignment.modeling.attention.BACKENDS`, or a repository of kernels."""
    requirement: str
    """What pip installs."""
    options: tuple[str, ...] = ()
    """How pip installs it."""
    minutes: int = 2
    """About how long it takes."""

    def command(self, torch_version: str) -> list[str]:
        """The call of pip; PyTorch stays the one that is here."""
        return [sys.executable, "-m", "pip", "install", *self.options, self.requirement, f"torch=={torch_version}"]

    @property
    def advice(self) -> str:
        """What a recipe must say to use it."""
        if "/" in self.backend:
            return f"recipes use it with `attn_implementation: {self.backend}`"
        return "recipes use it by themselves"


def ways(capability: tuple[int, int], cuda: str) -> list[Way]:
    """The ways that are open on a GPU, the quickest first.

    Args:
        capability: compute capability of the GPU.
        cuda: release of CUDA that PyTorch is built for, such as "13.0".
    """
    if capability < (8, 0):
        return []
    extra = "[cu13]" if cuda.startswith("13") else ""
    fa4 = Way(backend="flash_attention_4", requirement=f"flash-attn-4{extra}", options=("--pre",))
    return [
        *([fa4] if capability >= (9, 0) else []),
        Way(backend=HUB_EXAMPLE, requirement="kernels"),
        Way(backend="flash_attention_2", requirement="flash-attn>=2.6", options=("--no-build-isolation",), minutes=60),
    ]


def run_with_progress(command: Sequence[str], what: str, *, every: float = 30.0) -> str | None:
    """Run a command, saying every so many seconds that it still runs; why it failed, `None` when it did not."""
    begun = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while True:
            try:
                output, _ = process.communicate(timeout=every)
            except subprocess.TimeoutExpired:
                print(f"  {what}: {time.monotonic() - begun:.0f} s ...", flush=True)
                continue
            lines = output.strip().splitlines()
            return None if process.returncode == 0 else (lines[-1] if lines else f"exit code {process.returncode}")


def install(open_ways: Sequence[Way], torch_version: str) -> Way:
    """Install by the first way whose kernel computes right.

    Raises:
        SetupError: none does; with the reason for each.
    """
    reasons = []
    for way in open_ways:
        print(f"Installing {way.requirement} (about {way.minutes} minutes) ...", flush=True)
        reason = run_with_progress(way.command(torch_version), way.requirement)
        reason = reason or run_with_progress([sys.executable, "-m", __spec__.name, way.backend], "trying it")
        if reason is None:
            return way
        print(f"  passed over: {reason}", flush=True)
        reasons.append(f"{way.requirement}: {reason}")
    raise SetupError(
        Fault(
            key="flash attention",
            rule=f"cannot be had here ({'; '.join(reasons) or 'this GPU is older than compute capability 8.0'})",
            remedy="FlexAttention, which is part of PyTorch, serves without it",
        )
    )


def try_backend(backend: str) -> None:
    """Compute a packed row as Llama-3 and as Gemma-2 need it; a kernel must serve at least the first.

    Raises:
        SystemExit: it serves neither; with the reason.
    """
    import torch

    from alignment.modeling.attention import Needs
    from alignment.modeling.attention.probe import fault_of_backend

    device = torch.device("cuda")
    models = {
        "heads of 128": Needs(head_dim=128, dtype=torch.bfloat16, groups=4),
        "heads of 256 with a soft-cap (Gemma-2)": Needs(head_dim=256, dtype=torch.bfloat16, softcap=50.0),
    }
    faults = {name: fault_of_backend(backend, needs, device) for name, needs in models.items()}
    for name, fault in faults.items():
        print(f"{backend}, {name}: {fault or 'right'}")
    if all(faults.values()):
        raise SystemExit(f"it {faults['heads of 128']}")


def main() -> None:
    """Install; with a backend as argument, only try that one."""
    if len(sys.argv) > 1:
        return try_backend(sys.argv[1])
    import torch

    if not torch.cuda.is_available():
        raise SetupError(
            Fault(
                key="GPU",
                rule="is needed: which kernel fits depends on it, and PyTorch sees none here",
                remedy="run this on the machine that trains; a CPU needs no FlashAttention",
            )
        )
    way = install(ways(torch.cuda.get_device_capability(), torch.version.cuda or ""), torch.__version__)
    print(f"{way.requirement} works here; {way.advice}.")


if __name__ == "__main__":
    from alignment.cli.exit import guarded

    sys.exit(guarded(main))
