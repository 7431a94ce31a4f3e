"""Whether what a run will write fits on the disk, asked before the first step."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn
from transformers import TrainingArguments
from transformers.trainer_utils import SaveStrategy
from transformers.training_args import OptimizerNames

from alignment.errors import Fault, SetupError
from alignment.modeling.parameters import weights_of, whole_numel
from alignment.modeling.precision import compute_dtype
from alignment.recipe.sizes import adam_bytes

_GIB = 2**30
_SLACK = 40 * 2**20
"""Tokenizer (Gemma's takes 35 MB), configuration, random states and logs of one saved folder."""


def check_room(folder: Path, model: nn.Module, args: TrainingArguments, *, steps: int, by_time: bool = False) -> None:
    """Refuse a run whose checkpoints and final model do not fit into `folder`.

    Args:
        steps: optimizer steps of the run.
        by_time: `save_every_minutes` decides when checkpoints are saved.

    Raises:
        SetupError: with the bytes needed and the bytes free.
    """
    one, kept = checkpoint_bytes(model, args), checkpoints_kept(args, steps=steps, by_time=by_time)
    needed = kept * one + final_bytes(model, args)
    present = sum(file.stat().st_size for file in folder.glob("checkpoint-*/**/*") if file.is_file())
    free = shutil.disk_usage(folder).free
    if needed <= free + present:
        return
    raise SetupError(
        Fault(
            key="output_dir",
            value=str(folder),
            rule=f"needs {_gib(needed)}: {kept} checkpoint{'s' * (kept != 1)} of {_gib(one)} at a time and the final "
            f"model; {_gib(free + present)} are there",
            remedy="make room, choose another --output_dir, or lower save_total_limit"
            + ("" if args.save_total_limit else " (absent: every checkpoint stays)"),
        )
    )


def checkpoint_bytes(model: nn.Module, args: TrainingArguments) -> float:
    """Upper estimate of one checkpoint: weights, and for each trainable parameter fp32 master and optimizer states."""
    trained = _trained(model)
    weights = _held_bytes(trained if hasattr(model, "peft_config") else model.parameters())
    states = adam_bytes(OptimizerNames(args.optim).value)
    master = 4 if args.deepspeed_plugin is not None else 0  # DeepSpeed keeps fp32 weights beside those it trains
    return _SLACK + weights + sum(map(whole_numel, trained)) * (states + master)


def final_bytes(model: nn.Module, args: TrainingArguments) -> float:
    """Upper estimate of the final model: whole, in the precision of training, and beside it what was merged into it."""
    adapter = _held_bytes(_trained(model)) if hasattr(model, "peft_config") else 0
    return _SLACK + compute_dtype(args, model).itemsize * sum(map(weights_of, model.parameters())) + adapter


def checkpoints_kept(args: TrainingArguments, *, steps: int, by_time: bool = False) -> int:
    """Checkpoints that lie on the disk at the same time; the oldest goes after the newest is written.

    None is saved at the last step, unless it may be the best. How many a clock will ask for nobody knows: two, when
    nothing limits them.
    """
    limit = args.save_total_limit + 1 if args.save_total_limit else math.inf
    if by_time:
        return int(min(limit, 2))
    strategy = SaveStrategy(args.save_strategy).value
    if strategy == "no":
        return 1  # a run that is told to stop still saves one
    every = args.save_steps if args.save_steps >= 1 else args.save_steps * steps
    saves = math.ceil(steps / max(1, every)) if strategy == "steps" else math.ceil(args.num_train_epochs)
    return int(max(1, min(saves - (not args.load_best_model_at_end), limit)))


def _trained(model: nn.Module) -> list[Tensor]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _held_bytes(parameters: Iterable[Tensor]) -> int:
    return sum(whole_numel(parameter) * parameter.element_size() for parameter in parameters)


def _gib(size: float) -> str:
    return f"{size / _GIB:.1f} GiB"
