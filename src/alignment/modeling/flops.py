"""How much arithmetic a preference pair is, and how much of a GPU's peak a run reaches.

FLOPs are *useful* ones: shared prompts are counted once, logits at completion tokens only, and what gradient
checkpointing computes a second time not at all. `MFU = useful FLOPs / (seconds x peak)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any

PairLengths = tuple[int, ...]
"""Tokens of a prompt and of each of its answers: of a pair, the chosen and the rejected one."""

PEAK_TFLOPS: dict[str, float] = {
    "B200": 2250,
    "GB200": 2250,
    "H200": 989,
    "GH200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "H800": 989,
    "H20": 148,
    "A100": 312,
    "A800": 312,
    "A40": 150,
    "A30": 165,
    "A10G": 70,
    "A10": 125,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "RTX PRO 6000": 504,
    "RTX 6000 Ada": 364,
    "RTX A6000": 155,
    "RTX 5090": 210,
    "RTX 4090": 165,
    "RTX 3090": 71,
    "V100": 125,
    "T4": 65,
}
"""Dense bf16 (fp16 for V100 and T4) tensor-core peaks from the makers' data sheets, TFLOP/s without sparsity."""


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The sizes of a decoder that its arithmetic and memory follow from."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Geometry:
        """From a transformers text configuration."""
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            intermediate=config.intermediate_size,
            vocabulary=config.vocab_size,
        )

    @classmethod
    def known(cls, config: Any) -> Geometry | None:
        """From any transformers configuration; `None` for a decoder that these sizes do not describe (GPT-2, Mamba)."""
        try:
            geometry = cls.of(config.get_text_config())
        except (AttributeError, TypeError, ZeroDivisionError):
            return None
        return geometry if all(isinstance(size, int) for size in astuple(geometry)) else None

    @property
    def block_parameters(self) -> int:
        """Weights of the linear layers of all blocks (attention projections and the gated MLP)."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def head_parameters(self) -> int:
        """Weights of the output head; the same again for an embedding that is not tied."""
        return self.vocabulary * self.hidden


def forward_flops(geometry: Geometry, lengths: PairLengths) -> float:
    """Useful FLOPs of one pair's forward pass with a shared prompt.

    Two a weight and token; a (query, key) pair costs `4 x heads x head_dim` a layer. For Gemma-2-9B:
    `16.65e9 (P + C + R) + 1.835e9 (C + R) + 0.688e6 (query, key) pairs`. Sliding windows are not deducted.
    """
    prompt, answers = lengths[0], sum(lengths[1:])
    linear = 2 * geometry.block_parameters * (prompt + answers)
    head = 2 * geometry.head_parameters * answers
    seen = sum(n * (n + 1) / 2 for n in lengths) + prompt * answers
    return linear + head + 4 * geometry.heads * geometry.head_dim * geometry.layers * seen


def training_flops(geometry: Geometry, pairs: Iterable[PairLengths], *, forward_passes: int = 3) -> float:
    """Useful FLOPs of forward and backward: the backward pass is twice the forward; a reference model adds one."""
    return forward_passes * sum(forward_flops(geometry, lengths) for lengths in pairs)


def padded_tokens(pairs: Iterable[PairLengths]) -> int:
    """Tokens that the same answers fill as a padded row each, in one batch."""
    pairs = list(pairs)
    return sum(len(answers) for _, *answers in pairs) * max((p + max(answers) for p, *answers in pairs), default=0)


def peak_flops(device_name: str) -> float | None:
    """Peak FLOP/s of a GPU by the name its driver reports ("NVIDIA H100 80GB HBM3"); `None` when unknown.

    The longest matching entry wins, so that an "H100 PCIe" is not taken for an "H100".
    """
    words = device_name.lower().replace("-", " ").split()
    matches = [name for name in PEAK_TFLOPS if set(name.lower().split()) <= set(words)]
    return PEAK_TFLOPS[max(matches, key=len)] * 1e12 if matches else None
