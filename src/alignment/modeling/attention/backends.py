"""Which attention computes packed rows: what is installed, what the model needs, what the user asked for.

| backend           | version | device | dtypes     | head size                            |
|-------------------|---------|--------|------------|--------------------------------------|
| flash_attention_3 | any     | sm90   | fp16, bf16 | <= 256                               |
| flash_attention_2 | >= 2.6  | sm80+  | fp16, bf16 | <= 256                               |
| flash_attention_4 | any     | sm90+  | fp16, bf16 | <= 256; soft-capped <= 128 on sm100+ |
| flex_flash        | FA4     | sm90+  | fp16, bf16 | <= 256                               |
| flex_attention    |         | CUDA   | all        | any                                  |
| segments          |         | any    | all        | any                                  |

All of them know soft-caps and sliding windows. The first row that fits is taken. `flex_flash` is FlexAttention whose
kernels are FlashAttention 4's (PyTorch's `BACKEND="FLASH"`). `sdpa` is in no row: it has no soft-cap, and no mask for
shared prompts short of a dense `T x T` one. A name such as `kernels-community/flash-attn2` orders FlashAttention as
built on the Hub, by the `kernels` package.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.machinery import PathFinder
from typing import Any

import torch

from alignment.errors import Fault, SetupError
from alignment.modeling.attention import flash, flex, segments
from alignment.modeling.attention.attend import Attend


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a model asks of its attention."""

    head_dim: int
    dtype: torch.dtype
    softcap: float | None = None
    """Soft-cap of the attention scores."""
    window: int | None = None
    """The sliding window, if it is shorter than the longest sequence; `None` when it never cuts, or none is there."""
    groups: int = 2
    """Query heads that share a key head."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the machine offers."""

    device: str
    """"cuda" or "cpu"."""
    capability: tuple[int, int] = (0, 0)
    """Compute capability of the GPU."""
    installed: Mapping[str, tuple[int, ...]]
    """Version of each FlashAttention backend whose module is there, by backend name; whether it can be imported is
    for the probe to find out."""


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
    if requested not in BACKENDS and not flash.on_the_hub(requested):
        known = f"{', '.join(BACKENDS)} and kernels of the Hub such as {flash.HUB_EXAMPLE}"
        raise SetupError(refusal(requested, f"is no backend of packed rows; known are {known}"))
    reason = misfit_of(requested)(needs, machine)
    if reason is not None:
        raise SetupError(refusal(requested, reason))
    return requested


def attention_of(name: str) -> Attend:
    """The function behind a backend's name."""
    own: dict[str, Attend] = {
        "segments": segments.attend,
        "flex_attention": flex.attend,
        "flex_flash": partial(flex.attend, by=flex.FLASH),
    }
    return own[name] if name in own else flash.load(name)


def misfit_of(name: str) -> Callable[[Needs, Machine], str | None]:
    """What tells why a backend, or a kernel of the Hub, cannot serve."""
    return BACKENDS.get(name, _hub_misfit)


def needs_of(config: Any, dtype: torch.dtype, longest: int | None = None) -> Needs:
    """Read a text model's configuration.

    Args:
        longest: tokens of the longest prompt with completion, when known; a window at least as long never cuts, and
            a kernel need not prove that it would.
    """
    window = getattr(config, "sliding_window", None)
    layers = getattr(config, "layer_types", None)
    slides = layers is None or "sliding_attention" in layers
    softcap = getattr(config, "attn_logit_softcapping", None)
    heads = config.num_attention_heads
    return Needs(
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        dtype=dtype,
        groups=heads // (getattr(config, "num_key_value_heads", None) or heads),
        softcap=None if softcap is None else float(softcap),
        window=int(window) if window is not None and slides and (longest is None or window < longest) else None,
    )


def this_machine(device: torch.device) -> Machine:
    """What is here, by asking the package metadata; nothing is imported."""
    installed = {}
    for name, distribution in (
        ("flash_attention_2", "flash-attn"),
        ("flash_attention_3", "flash-attn-3"),
        ("flash_attention_4", "flash-attn-4"),
    ):
        if _is_there(flash.MODULES[name]):
            installed[name] = _version(distribution)
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    return Machine(device=device.type, capability=capability, installed=installed)


def _flash_misfit(name: str, *, least: tuple[int, int], most: tuple[int, int] = (99, 0)) -> Callable[..., str | None]:
    def misfit(needs: Needs, machine: Machine) -> str | None:
        if machine.device == "cuda" and name not in machine.installed:
            return f"is not installed (module {flash.MODULES[name]})"
        reason = _kernel_misfit(needs, machine, least=least, most=most)
        if reason is not None:
            return reason
        version = machine.installed[name]
        if name == "flash_attention_2" and version and version < (2, 6):
            return f"is {'.'.join(map(str, version))} here, and before 2.6 it has no soft-cap"
        if name == "flash_attention_4" and needs.softcap and machine.capability >= (10, 0) and needs.head_dim > 128:
            return f"refuses the soft-cap of {needs.softcap:g} with heads of {needs.head_dim} on this GPU"
        return None

    return misfit


def _kernel_misfit(
    needs: Needs, machine: Machine, *, least: tuple[int, int] = (8, 0), most: tuple[int, int] = (99, 0)
) -> str | None:
    """What no FlashAttention can do."""
    if machine.device != "cuda":
        return "needs a CUDA device"
    if not least <= machine.capability < most:
        return f"does not run on compute capability {'.'.join(map(str, machine.capability))}"
    if needs.dtype not in (torch.float16, torch.bfloat16):
        return f"computes in fp16 and bf16 only, not in {str(needs.dtype).removeprefix('torch.')}"
    if needs.head_dim > 256 or needs.head_dim % 8:
        return f"has no kernel for heads of {needs.head_dim}"
    return None


def _hub_misfit(needs: Needs, machine: Machine) -> str | None:
    if not _is_there("kernels"):
        return "is a kernel of the Hub, and the package `kernels` is not installed (`pip install kernels`)"
    return _kernel_misfit(needs, machine)


def _flex_flash_misfit(needs: Needs, machine: Machine) -> str | None:
    if machine.device == "cuda" and "flash_attention_4" not in machine.installed:
        return f"is not installed (module {flash.MODULES['flash_attention_4']})"
    if not flex.has_flash():
        return "is not in this release of PyTorch"
    return _kernel_misfit(needs, machine, least=(9, 0))


def _flex_misfit(needs: Needs, machine: Machine) -> str | None:
    return None if machine.device == "cuda" else "has no backward pass on a CPU"


BACKENDS: dict[str, Callable[[Needs, Machine], str | None]] = {
    "flash_attention_3": _flash_misfit("flash_attention_3", least=(9, 0), most=(10, 0)),
    "flash_attention_2": _flash_misfit("flash_attention_2", least=(8, 0)),
    "flash_attention_4": _flash_misfit("flash_attention_4", least=(9, 0)),
    "flex_flash": _flex_flash_misfit,
    "flex_attention": _flex_misfit,
    "segments": lambda needs, machine: None,
}
"""Backend to the reason why it cannot serve, `None` when it can; in order of preference."""


def _is_there(module: str) -> bool:
    """Whether a module's file is there. No parent is imported: one that is broken must not stop a run that can do
    without, and a namespace that another package fills has no kernel of its own."""
    path, spec = None, None
    for name in _prefixes(module):
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return spec is not None and spec.origin is not None


def _prefixes(module: str) -> list[str]:
    """`a.b.c` to `a`, `a.b`, `a.b.c`."""
    parts = module.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


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
