"""How a run can be spread over GPUs, as `configs/accelerate` has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One way to spread weights, gradients and optimizer states."""

    name: str
    """The file in `configs/accelerate`; `single` is one process without any."""
    zero: Mapping[str, Any] | None = None
    """DeepSpeed's `zero_optimization`."""
    fsdp: bool = False
    several: bool = True
    """It makes sense on several GPUs."""
    alone: bool = False
    """It makes sense on one."""

    def shards(self, ranks: int) -> int:
        """Ranks that share the states."""
        return ranks if self.zero or self.fsdp else 1

    def suits(self, ranks: int, *, quantized: bool) -> bool:
        """Whether a plan should look at it.

        Weights of bitsandbytes are not shared: DeepSpeed and FSDP would cut what they cannot put together again.
        """
        return (self.several if ranks > 1 else self.alone) and not (quantized and (self.zero or self.fsdp))


CONFIGURATIONS: tuple[Configuration, ...] = (
    Configuration(name="single", several=False, alone=True),
    Configuration(name="ddp"),
    Configuration(name="zero1", zero={"stage": 1}),
    Configuration(name="zero2", zero={"stage": 2}),
    Configuration(name="zero3", zero={"stage": 3}),
    Configuration(name="fsdp2", fsdp=True),
    Configuration(name="zero3_offload", zero={"stage": 3, "offload_optimizer": {"device": "cpu"}}, alone=True),
)
"""From what is simplest to what saves most memory."""
