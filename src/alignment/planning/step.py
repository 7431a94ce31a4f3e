"""A micro-batch, and what it takes of a device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from alignment.modeling.flops import PairLengths

LAYERS = 3
"""Layers of the model that is run: the first `CHECKPOINTED` computed again, the last keeping its activations."""
CHECKPOINTED = 2
Form = Literal["packed", "padded", "conversations"]
Kernels = Literal["cuda", "cpu"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A micro-batch, and how it is computed."""

    lengths: tuple[PairLengths, ...]
    """Tokens of prompt, chosen and rejected of its pairs; of a conversation: `(read only, trained, 0)`."""
    form: Form
    dtype: Literal["float32", "bfloat16"]
    """What weights are held in while they are used."""
    autocast: bool
    """Weights are cast to bf16 as they are used."""
    kernels: Kernels
    """Fused kernels, or the plain computation."""
    accumulates: bool = True
    """Gradients of earlier micro-batches are there already."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes beside weights, and beside gradients that were there before; of one micro-batch."""

    base: float
    """Kept from before the first layer."""
    full_layer: float
    """Kept by a layer for its backward pass."""
    checkpointed_layer: float
    """Kept by a layer that is computed again."""
    head: float
    """What the output head takes beside what layers keep."""
    full_backward: float
    """What the backward pass of the last layer takes beside what layers keep."""
    checkpointed_backward: float
    """The same, where the layer is computed again first."""
    end: float
    """What the end of the backward pass takes, where no layer keeps anything any more."""
    layer_gradients: float
    """Gradients that a layer's backward pass leaves where none were before."""

    def kept(self, layers: int, checkpointed: int) -> float:
        """What all layers keep at the end of the forward pass: the activations."""
        return self.base + (layers - checkpointed) * self.full_layer + checkpointed * self.checkpointed_layer

    def peak(self, layers: int, checkpointed: int) -> float:
        """The fullest moment of a micro-batch.

        Going back through the layers, what they keep goes and their gradients come: the first or the last of a kind is
        the fullest.
        """
        moments = [
            self.kept(layers, checkpointed) + self.head,
            self.base + self.end + layers * self.layer_gradients,
        ]
        for first, last, beside in (
            (checkpointed + 1, layers, self.full_backward),
            (1, checkpointed, self.checkpointed_backward),
        ):
            for layer in (first, last) if first <= last else ():
                kept = self.kept(layer, min(layer, checkpointed))
                moments.append(kept + beside + (layers - layer) * self.layer_gradients)
        return max(moments)

    @classmethod
    def between(cls, few: Footprint, many: Footprint, share: float) -> Footprint:
        """On the line through two: `few` at 0, `many` at 1."""
        one, other = asdict(few), asdict(many)
        return cls(**{name: one[name] + share * (other[name] - one[name]) for name in one})
