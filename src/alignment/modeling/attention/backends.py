"""Which attention computes packed rows: what is installed, what the model needs, what the user asked for.

| backend           | version | device | dtypes     | head size                            |
|-------------------|---------|--------|------------|--------------------------------------|
| flash_attention_3 | any     | sm90   | fp16, bf16 | <= 256                               |
| flash_attention_2 | >= 2.6  | sm80+  | fp16, bf16 | <= 256                               |
| flash_attention_4 | any     | sm90+  | fp16, bf16 | <= 256; soft-capped <= 128 on sm100+ |
| flex_attention    |         | CUDA   | all        | any                                  |
| segments          |         | any    | all        | any                                  |

All of them know soft-caps and sliding windows. The first row that fits is taken. `sdpa` is in no row: it has no
soft-cap, and no mask for shared prompts short of a dense `T x T` one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ...errors import Fault, SetupError
from . import flash, flex, segments
from .attend import Attend


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a model asks of its attention."""

    head_dim: int
    dtype: torch.dtype
    softcap: float | None = None
    """Soft-cap of the attention scores."""
    window: int | None = None
    """The sliding window, if it is shorter than the longest sequence; `None` when it never cuts, or none is there."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the machine offers."""

    device: str
    """"cuda" or "cpu"."""
    capability: tuple[int, int] = (0, 0)
    """Compute capability of the GPU."""
    installed: Mapping[str, tuple[int, ...]]
    """Version of each FlashAttention backend that can be imported, by backend name."""


def choose_backend(needs: Needs, machine: Machine, requested: str | None = None) -> str:
    """The name of the attention backend for packed rows.

    Args:
        requested: the recipe's `attn_implementation`. A flash or flex backend is an order; `eager`, `sdpa` and
            `None` speak of the model's own forward only and leave the choice to the table, except that `sdpa`
            for a soft-capped model is refused everywhere, because its own forward would drop the soft-cap.

    Raises:
        SetupError: the requested backend is missing or would compute something else than the model.
    """
    if requested == "sdpa" and needs.softcap is not None:
        raise SetupError(refusal(requested, f"drops this model's attention soft-cap of {needs.softcap:g}"))
    if requested in (None, "eager", "sdpa"):
        return next(name for name, misfit in BACKENDS.items() if misfit(needs, machine) is None)
    if requested not in BACKENDS:
        raise SetupError(refusal(requested, f"is no backend of packed rows; known are {', '.join(BACKENDS)}"))
    reason = BACKENDS[requested](needs, machine)
    if reason is not None:
        raise SetupError(refusal(requested, reason))
    return requested


def attention_of(name: str) -> Attend:
    """The function behind a backend's name."""
    if name == "segments":
        return segments.attend
    return flex.attend if name == "flex_attention" else flash.load(name)


def needs_of(config: Any, dtype: torch.dtype, longest: int | None = None) -> Needs:
    """Read a text model's configuration.

    Args:
        longest: tokens of the longest prompt with completion, when known; a window at least as long never cuts, and
            a kernel need not prove that it would.
    """
    window = getattr(config, "sliding_window", None)
    layers = getattr(config, "layer_types", None)
    slides = window is not None and (layers is None or "sliding_attention" in layers)
    softcap = getattr(config, "attn_logit_softcapping", None)
    return Needs(
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        dtype=dtype,
        softcap=None if softcap is None else float(softcap),
        window=int(window) if slides and (longest is None or window < longest) else None,
    )


def this_machine(device: torch.device) -> Machine:
    """What is here, by asking the package metadata; nothing is imported."""
    installed = {}
    for name, distribution in (
        ("flash_attention_2", "flash-attn"),
        ("flash_attention_3", "flash-attn-3"),
        ("flash_attention_4", "flash-attn-4"),
    ):
        if _importable(flash.MODULES[name]):
            installed[name] = _version(distribution)
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    return Machine(device=device.type, capability=capability, installed=installed)


def _flash_misfit(name: str, *, least: tuple[int, int], most: tuple[int, int] = (99, 0)) -> Callable[..., str | None]:
    def misfit(needs: Needs, machine: Machine) -> str | None:
        if machine.device != "cuda":
            return "needs a CUDA device"
        if name not in machine.installed:
            return f"is not installed (module {flash.MODULES[name]})"
        if not least <= machine.capability < most:
            return f"does not run on compute capability {'.'.join(map(str, machine.capability))}"
        if needs.dtype not in (torch.float16, torch.bfloat16):
            return f"computes in fp16 and bf16 only, not in {str(needs.dtype).removeprefix('torch.')}"
        if needs.head_dim > 256 or needs.head_dim % 8:
            return f"has no kernel for heads of {needs.head_dim}"
        version = machine.installed[name]
        if name == "flash_attention_2" and version and version < (2, 6):
            return f"is {'.'.join(map(str, version))} here, and before 2.6 it has no soft-cap"
        if name == "flash_attention_4" and needs.softcap and machine.capability >= (10, 0) and needs.head_dim > 128:
            return f"refuses the soft-cap of {needs.softcap:g} with heads of {needs.head_dim} on this GPU"
        return None

    return misfit


def _flex_misfit(needs: Needs, machine: Machine) -> str | None:
    return None if machine.device == "cuda" else "has no backward pass on a CPU"


BACKENDS: dict[str, Callable[[Needs, Machine], str | None]] = {
    "flash_attention_3": _flash_misfit("flash_attention_3", least=(9, 0), most=(10, 0)),
    "flash_attention_2": _flash_misfit("flash_attention_2", least=(8, 0)),
    "flash_attention_4": _flash_misfit("flash_attention_4", least=(9, 0)),
    "flex_attention": _flex_misfit,
    "segments": lambda needs, machine: None,
}
"""Backend to the reason why it cannot serve, `None` when it can; in order of preference."""


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _version(distribution: str) -> tuple[int, ...]:
    try:
        text = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())


def refusal(requested: str, reason: str) -> Fault:
    """The fault of a recipe that orders a backend which cannot serve, with the reason."""
    return Fault(
        key="attn_implementation",
        value=requested,
        rule=reason,
        remedy="leave it out (the best backend here is chosen), or set packing: false for the padded computation",
    )
