"""Rules of loading, compiling and recomputing, which PyTorch would only state once everything is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from alignment.errors import Fault, did_you_mean
from alignment.methods import METHODS
from alignment.recipe.settings import Settings

_RECOMPUTE = {"use_reentrant": bool, "preserve_rng_state": bool, "determinism_check": str, "early_stop": bool}
"""What gradient_checkpointing_kwargs may hold (torch.utils.checkpoint), and of which type."""


def _workers(s: Settings) -> Iterator[Fault]:
    if not s.sound("dataloader_num_workers") or s["dataloader_num_workers"]:
        return
    for key in ("dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context"):
        if s.sound(key) and s.stated.get(key):
            yield Fault(
                key=key,
                value=s[key],
                rule="has no effect without dataloader_num_workers above 0",
                remedy="add that, or remove this",
            )


def _recomputation(s: Settings) -> Iterator[Fault]:
    stated = s.stated.get("gradient_checkpointing_kwargs")
    if not (
        stated and s.sound("gradient_checkpointing_kwargs", "gradient_checkpointing") and s["gradient_checkpointing"]
    ):
        return
    own = METHODS[s.method].recomputation if s.method else ()
    known = {**_RECOMPUTE, **dict.fromkeys(own, bool)}
    for name, value in stated.items():
        key = f"gradient_checkpointing_kwargs.{name}"
        if name not in known:
            remedy = did_you_mean(name, known) or f"known are {', '.join(known)}"
            yield Fault(key=key, value=value, rule="is no setting of recomputation", remedy=remedy)
        elif not isinstance(value, known[name]):
            kind = "true or false" if known[name] is bool else "text"
            yield Fault(key=key, value=value, rule=f"must be {kind}", remedy="remove it for the default")


def _offloading(s: Settings) -> Iterator[Fault]:
    if s.sound("activation_offloading", "use_cpu") and s["activation_offloading"] and s["use_cpu"]:
        yield Fault(
            key="activation_offloading",
            value=True,
            rule="moves activations from a GPU to the host, and use_cpu is true",
            remedy="remove it",
        )


def _trackers(s: Settings) -> Iterator[Fault]:
    stated = s.stated.get("report_to")
    if not s.sound("report_to") or not isinstance(stated, list) or len(stated) < 2:
        return
    for word in ("none", "all"):
        if word in stated:
            yield Fault(key="report_to", value=stated, rule=f"must not name {word} with others", remedy="keep one")


MACHINE_RULES = (_trackers, _workers, _recomputation, _offloading)
