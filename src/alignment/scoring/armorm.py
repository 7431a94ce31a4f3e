"""ArmoRM: a Llama that rates an answer on many objectives, and a gate that weighs them by the prompt.

Wang et al., "Interpretable Preferences via Multi-Objective Reward Modeling and Mixture-of-Experts"
(https://arxiv.org/abs/2406.12845). The checkpoint's own tensors are read; no code from it is run.

Shapes: B conversations, D hidden size, K objectives, H width of the gate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from alignment.errors import Fault, SetupError
from alignment.scoring.checkpoint import explained, read_tensors

ARCHITECTURE = "LlamaForRewardModelWithGating"
TEMPERATURE = 10.0
"""Of the gate's softmax, where the configuration does not state `gating_temperature`."""
_BACKBONE = "model."
_LAYER = re.compile(r"gating\.layers\.(\d+)\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class Heads:
    """What stands on the backbone, in fp32."""

    regression: Tensor
    """`[K, D]`: hidden state of the last token -> rewards."""
    transform: Tensor
    """`[K, K]`: rewards -> rewards without what verbosity adds to them."""
    gate: tuple[tuple[Tensor, Tensor | None], ...]
    """Weight and bias of each layer: `[H, D]`, `[H, H]`, ..., `[K, H]`."""
    scale: Tensor
    """`[1]`: factor of the gate's output."""
    temperature: float
    """Of the gate's softmax."""

    def to(self, device: torch.device) -> Heads:
        """The same on another device."""
        return Heads(**{field.name: _moved(getattr(self, field.name), device) for field in fields(self)})


def armo_score(answer_BD: Tensor, prompt_BD: Tensor, heads: Heads) -> Tensor:
    """Scores `[B]`: the rewards of the answer, weighed by the gate.

    Args:
        answer_BD: hidden states of the last token of the conversation.
        prompt_BD: hidden states at the gating position.
    """
    rewards_BK = functional.linear(answer_BD, heads.regression)
    return (gate_weights(prompt_BD, heads) * (rewards_BK @ heads.transform)).sum(dim=-1)


def gate_weights(prompt_BD: Tensor, heads: Heads) -> Tensor:
    """Weight of each objective `[B, K]`: linear layers with ReLU between them, then a softmax."""
    hidden = prompt_BD
    for at, (weight, bias) in enumerate(heads.gate):
        hidden = functional.linear(hidden if at == 0 else hidden.relu(), weight, bias)
    return torch.softmax(hidden / heads.temperature, dim=-1) * heads.scale


def is_armorm(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is that of ArmoRM."""
    return ARCHITECTURE in (config.get("architectures") or []) or "num_objectives" in config


def read_heads(files: dict[str, Path], config: Mapping[str, Any], name: str) -> Heads:
    """The heads from the checkpoint.

    Args:
        files: where each tensor of the checkpoint is.
        config: its settings; `hidden_size`, `num_objectives` and `gating_temperature` are read.
        name: what the user calls it.

    Raises:
        SetupError: a tensor is missing, unknown, or not of the shape that the others ask for.
    """
    tensors = read_tensors({key: path for key, path in files.items() if not key.startswith(_BACKBONE)}, name)
    layers = sorted({int(match[1]) for key in tensors if (match := _LAYER.fullmatch(key))})
    needed = ["regression_layer.weight", "reward_transform_matrix", "gating.logit_scale"]
    needed += [f"gating.layers.{at}.weight" for at in range(max(layers, default=0) + 1)]
    if missing := [key for key in needed if key not in tensors]:
        raise _unfit(name, f"lacks {', '.join(missing)}")
    if unknown := sorted(key for key in tensors if key not in needed and not _LAYER.fullmatch(key)):
        raise _unfit(name, f"holds {', '.join(unknown)}, which ArmoRM does not have")
    gate = tuple((tensors[f"gating.layers.{at}.weight"], tensors.get(f"gating.layers.{at}.bias")) for at in layers)
    with explained(name):
        temperature = float(config.get("gating_temperature", TEMPERATURE))
    heads = Heads(
        regression=tensors["regression_layer.weight"],
        transform=tensors["reward_transform_matrix"],
        gate=gate,
        scale=tensors["gating.logit_scale"],
        temperature=temperature,
    )
    _check_shapes(heads, config, name)
    return heads


def header_spans(ids: Sequence[int], headers: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Index of the first and of the last token of every place in `ids` where one of `headers` stands."""
    return [
        (at, at + len(header) - 1)
        for at in range(len(ids))
        for header in headers
        if list(ids[at : at + len(header)]) == list(header)
    ]


def _check_shapes(heads: Heads, config: Mapping[str, Any], name: str) -> None:
    objectives = heads.regression.shape[0]
    width = config.get("hidden_size")
    told = config.get("num_objectives", objectives)
    inputs = [width, *(weight.shape[0] for weight, _ in heads.gate)]
    expected = [
        ("regression_layer.weight", heads.regression, (told, width)),
        ("reward_transform_matrix", heads.transform, (told, told)),
        ("gating.logit_scale", heads.scale, (1,)),
    ]
    for at, (weight, bias) in enumerate(heads.gate):
        outputs = told if at == len(heads.gate) - 1 else weight.shape[0]
        expected.append((f"gating.layers.{at}.weight", weight, (outputs, inputs[at])))
        if bias is not None:
            expected.append((f"gating.layers.{at}.bias", bias, (outputs,)))
    for key, tensor, shape in expected:
        if tuple(tensor.shape) != shape:
            raise _unfit(name, f"has {key} of shape {list(tensor.shape)}, and it must be {list(shape)}")
    if not heads.temperature > 0:
        raise _unfit(name, f"has gating_temperature {heads.temperature:g}, and it must be above 0")


def _unfit(name: str, rule: str) -> SetupError:
    return SetupError(Fault(key="scorer", value=name, rule=rule, remedy="give a complete ArmoRM checkpoint"))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, tuple):
        return tuple(_moved(part, device) for part in value)
    return value.to(device) if isinstance(value, Tensor) else value
