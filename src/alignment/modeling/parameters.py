"""How many weights a parameter stands for, however it is held."""

from __future__ import annotations

import math

from torch import Tensor


def whole_numel(parameter: Tensor) -> int:
    """Elements of the whole parameter, also of one that ZeRO-3 has sharded away, whose local tensor is empty."""
    return math.prod(getattr(parameter, "ds_shape", parameter.shape))


def weights_of(parameter: Tensor) -> int:
    """Weights that a parameter stands for; bitsandbytes packs two of 4 bits into a byte and remembers their shape."""
    packed = getattr(parameter, "quant_state", None)
    return whole_numel(parameter) if packed is None else math.prod(packed.shape)
