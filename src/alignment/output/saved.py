"""Is the model in a folder the one that was trained? Its tensors, and its log-probabilities of one conversation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from alignment.modeling.load import load_policy

if TYPE_CHECKING:
    from alignment.recipe import ModelArguments

LONGEST = 256
"""Tokens of the conversation that are compared."""
RELOADED = 4_000_000_000
"""Parameters up to which a saved model is loaded again; of larger ones every tensor is compared."""
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}
"""Mean difference of a token's log-probability that rounding explains."""


class NotWhatWasTrained(Exception):
    """A saved folder does not hold the trained model."""


def first_conversation(rows: Any) -> list[int]:
    """Token ids of the first row that a trainer trained on: the conversation, or the pair's chosen one."""
    row = rows[0]
    if "input_ids" in row:
        ids = row["input_ids"]
    else:
        ids = [*row["prompt_ids"], *(row["chosen_ids"] if "chosen_ids" in row else row["answer_ids"][0])]
    return list(ids)[:LONGEST]


def conversation_outputs(model: nn.Module, ids: Sequence[int], device: torch.device) -> Tensor:
    """What a model says of a conversation, on the CPU. A collective call if weights are sharded.

    Dropout is off; the model is left in the mode it was in.

    Returns:
        `[T - 1]` log-probabilities of `ids` `[T]` after the first, or the scores `[1]` of a reward model.
    """
    tokens = torch.tensor([ids], device=device)
    training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=tokens, use_cache=False).logits[0].float()
    model.train(training)
    if logits.ndim == 1:
        return logits.cpu()
    return logits[:-1].log_softmax(-1).gather(1, tokens[0, 1:, None]).squeeze(1).cpu()


def check_saved(
    folder: Path,
    state: Mapping[str, Tensor],
    trained: Tensor,
    ids: Sequence[int],
    arguments: ModelArguments,
    *,
    scores: bool = False,
) -> None:
    """Compare what lies in `folder` with what was trained, on one process.

    Args:
        state: the weights that were to be saved.
        trained: `conversation_outputs` of the trained model.
        arguments, scores: how `folder` is loaded.

    Raises:
        NotWhatWasTrained: naming tensors, or the difference.
    """
    renamed = _check_tensors(folder, state)
    if renamed or sum(tensor.numel() for tensor in state.values()) <= RELOADED:
        policy = load_policy(arguments, scores=scores)
        difference = (conversation_outputs(policy, ids, policy.device) - trained).abs().mean().item()
        if scores:
            difference /= max(1.0, trained.abs().mean().item())
        tolerance = TOLERANCE[stored_dtype(state)]
        if not difference <= tolerance:
            raise NotWhatWasTrained(
                f"the model in {folder} gives the first training row "
                + ("a score that differs" if scores else "log-probabilities that differ")
                + f" from the trained model's by {difference:.3g}{'' if scores else ' a token'} "
                f"(rounding explains {tolerance:g})"
            )


def stored_dtype(state: Mapping[str, Tensor]) -> torch.dtype:
    """The precision that weights are stored in."""
    return next(tensor.dtype for tensor in state.values() if tensor.is_floating_point())


def _check_tensors(folder: Path, state: Mapping[str, Tensor]) -> bool:
    """Compare every tensor of the folder, one at a time; whether the folder names them otherwise than the model."""
    written = set()
    for name, tensor in _tensors(folder):
        if name not in state:
            return True  # some architectures are stored in another layout; loading translates it
        if not torch.equal(tensor, state[name].cpu()):
            raise NotWhatWasTrained(f"{name} in {folder} is not what was trained")
        written.add(name)
    stored = {_address(state[name]) for name in written}
    missing = [name for name in state if name not in written and _address(state[name]) not in stored]
    if missing:
        raise NotWhatWasTrained(f"{folder} lacks {', '.join(missing[:5])}")
    return False


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (a handle, not a mapping)
                yield name, file.get_tensor(name)


def _address(tensor: Tensor) -> tuple[int, torch.Size]:
    return tensor.data_ptr(), tensor.shape
