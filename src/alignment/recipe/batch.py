"""Batch arithmetic: pairs of one optimizer step = micro-batch x accumulation x processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isqrt
from typing import Any, NamedTuple

from alignment.errors import Fault
from alignment.recipe.bounds import MOST_PAIRS

_USUAL_MICRO_BATCH = 2
"""Micro-batch when only global_batch_size is stated; a larger one only pads more."""


class Batch(NamedTuple):
    """How one process takes its part of an optimizer step."""

    micro_batch: int
    """Pairs in one forward pass of one process."""
    accumulation: int
    """Forward passes of one process in one optimizer step."""


def batch_faults(stated: Mapping[str, Any]) -> Iterator[Fault]:
    """What cannot work at any number of processes. `stated` are sound top-level values."""
    total = stated.get("global_batch_size")
    micro = stated.get("per_device_train_batch_size")
    accumulation = stated.get("gradient_accumulation_steps")
    each = (micro or 1) * (accumulation or 1)
    if total is None:
        if each > MOST_PAIRS:
            yield Fault(
                key="gradient_accumulation_steps",
                value=accumulation,
                rule=f"makes steps of {_product(micro, accumulation)} = {each} rows, and {MOST_PAIRS} is the most",
                remedy="the released models used 128 pairs",
            )
        return
    if total % each:
        yield Fault(
            key="global_batch_size",
            value=total,
            rule=f"must be a multiple of {_product(micro, accumulation)} = {each}",
            remedy="state global_batch_size alone, or numbers that multiply to it",
        )


def plan_batch(stated: Mapping[str, Any], world_size: int) -> Batch | Fault | None:
    """Micro-batch and accumulation of `world_size` processes; None when the recipe leaves them to the defaults.

    Whatever is not stated is derived, so that the product is global_batch_size exactly.
    """
    total = stated.get("global_batch_size")
    if total is None:
        return None
    micro = stated.get("per_device_train_batch_size")
    accumulation = stated.get("gradient_accumulation_steps")
    if total % world_size:
        return Fault(
            key="global_batch_size",
            value=total,
            rule=f"must be divisible by the {world_size} processes",
            remedy=f"run {_either(_divisors(total))} processes, or use global_batch_size {_near(total, world_size)}",
        )
    share = total // world_size
    if micro is None:
        if accumulation is None:
            micro = max(divisor for divisor in _divisors(share) if divisor <= _USUAL_MICRO_BATCH)
        else:
            micro = share // accumulation
    if accumulation is None:
        accumulation = share // micro if micro else 0
    if micro * accumulation == share:
        return Batch(micro, accumulation)
    stated_parts = _product(stated.get("per_device_train_batch_size"), stated.get("gradient_accumulation_steps"))
    settings = ", ".join(f"{divisor} x {share // divisor}" for divisor in _divisors(share))
    return Fault(
        key="global_batch_size",
        value=total,
        rule=f"cannot be made of {stated_parts} on {world_size} process{'es' if world_size > 1 else ''}",
        remedy="remove per_device_train_batch_size and gradient_accumulation_steps to derive them, or choose "
        f"per_device_train_batch_size x gradient_accumulation_steps from {settings}",
    )


def _divisors(number: int) -> list[int]:
    small = [divisor for divisor in range(1, isqrt(number) + 1) if number % divisor == 0]
    return [*small, *(number // divisor for divisor in reversed(small) if divisor * divisor != number)]


def _near(total: int, world_size: int) -> str:
    below = total // world_size * world_size
    return " or ".join(str(number) for number in (below, below + world_size) if number)


def _either(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers[:-1]) + f" or {numbers[-1]}" if len(numbers) > 1 else "1"


def _product(micro: int | None, accumulation: int | None) -> str:
    parts = []
    if micro is not None:
        parts.append(f"per_device_train_batch_size {micro}")
    if accumulation is not None:
        parts.append(f"gradient_accumulation_steps {accumulation}")
    return " x ".join(parts)
