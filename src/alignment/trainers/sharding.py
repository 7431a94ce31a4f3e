"""How a run is spread over processes, and whether a checkpoint can go on from there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from accelerate import Accelerator
from accelerate.utils import DistributedType
from transformers import TrainingArguments

from alignment.errors import Fault, SetupError

Kind = Literal["whole", "ZeRO", "FSDP"]
_NAMES: dict[Kind, str] = {"whole": "unsharded (one process or DDP)", "ZeRO": "DeepSpeed ZeRO", "FSDP": "FSDP"}


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """How the optimizer states of a run are spread over its processes."""

    kind: Kind
    processes: int

    def __str__(self) -> str:
        return f"{_NAMES[self.kind]} on {self.processes} process{'es' * (self.processes != 1)}"


def sharding_of(checkpoint: Path) -> Sharding:
    """What wrote `checkpoint`: DeepSpeed leaves a file a rank, FSDP a folder, everything else one whole file."""
    zero_ranks = {match[1] for file in checkpoint.glob("global_step*/*") if (match := _ZERO_SHARD.match(file.name))}
    if zero_ranks:
        return Sharding(kind="ZeRO", processes=len(zero_ranks))
    ranks = max(1, len(list(checkpoint.glob("rng_state_*.pth"))))
    return Sharding(kind="FSDP" if (checkpoint / "optimizer_0").is_dir() else "whole", processes=ranks)


_ZERO_SHARD = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_\d+_optim_states\.pt")


def sharding_now(args: TrainingArguments) -> Sharding:
    """How this run will spread its optimizer states."""
    kinds: dict[DistributedType, Kind] = {DistributedType.DEEPSPEED: "ZeRO", DistributedType.FSDP: "FSDP"}
    kind = "ZeRO" if args.deepspeed_plugin is not None else kinds.get(args.distributed_state.distributed_type, "whole")
    return Sharding(kind=kind, processes=args.world_size)


def check_resumable(checkpoint: Path, args: TrainingArguments) -> None:
    """Refuse to go on from `checkpoint` when its optimizer states cannot be read by this run's processes.

    Unsharded checkpoints go on with any number of processes, and so do FSDP's: the pairs of every step do not
    depend on it. ZeRO's states are cut for one number of processes.

    Raises:
        SetupError: naming both sides and the ways out.
    """
    then, now = sharding_of(checkpoint), sharding_now(args)
    if then.kind == now.kind and (then.kind != "ZeRO" or then.processes == now.processes):
        return
    raise SetupError(
        Fault(
            key="checkpoint",
            value=str(checkpoint),
            rule=f"was written by {then}, and this run is {now}, which cannot read its optimizer states",
            remedy=f"continue on {then} (NPROC={then.processes} ACCELERATE={_configuration(then.kind, args)}), "
            "choose another --output_dir, or train the saved weights anew with --model_name_or_path",
        )
    )


def _configuration(kind: Kind, args: TrainingArguments) -> str:
    """The file of `configs/accelerate` that spreads a run like this on the machine at hand."""
    if kind == "whole":
        return "ddp"
    if kind == "FSDP":
        return "fsdp2"
    if args.device.type == "cpu":
        return "zero3_cpu"
    plugin = args.deepspeed_plugin
    if plugin is None:
        return "zero3"
    return "zero3_offload" if plugin.offload_optimizer_device == "cpu" else f"zero{plugin.zero_stage}"


def check_sharded(accelerator: Accelerator) -> None:
    """Refuse to train when the launcher promised sharding and this machine gives none.

    accelerate replaces FSDP by DDP on a CPU without a word.
    """
    promised = {
        "ACCELERATE_USE_DEEPSPEED": DistributedType.DEEPSPEED,
        "ACCELERATE_USE_FSDP": DistributedType.FSDP,
    }
    for variable, kind in promised.items():
        if os.environ.get(variable, "false").lower() == "true" and accelerator.distributed_type != kind:
            raise SetupError(
                Fault(
                    key=f"distributed_type {kind.value}",
                    rule=f"is not available here: accelerate would train with {accelerator.distributed_type.value}",
                    remedy="use ACCELERATE=zero3_cpu or ACCELERATE=ddp on a machine without GPUs",
                )
            )
