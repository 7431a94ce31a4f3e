"""The settings that published models of a method were trained with: what "usual" means in a warning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Range = tuple[float, float]
"""Lowest and highest value."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Full fine-tuning of models of 7 to 9 billion weights."""

    rates: Range
    """Peak learning rates."""
    too_high: float
    """The learning rate from which on others saw a model break."""
    broken: str
    """Where that was seen."""
    source: str
    """Where rates, beta and ratio stand."""
    beta: Range | None = None
    ratio: Range | None = None
    """gamma_beta_ratio."""
    batch: int = 128
    """Rows of one optimizer step."""


_HANDBOOK = "the recipes of huggingface/alignment-handbook"

PUBLISHED: Mapping[str, Published] = {
    "simpo": Published(
        rates=(3e-7, 1e-6),
        too_high=5e-6,
        broken="at 1e-5 its authors saw incoherent and endlessly repeated answers (README of princeton-nlp/SimPO)",
        source="the released SimPO models (arXiv 2405.14734 and the README of princeton-nlp/SimPO)",
        beta=(2.0, 10.0),
        ratio=(0.1, 0.8),
    ),
    "dpo": Published(
        rates=(3e-7, 7e-7),
        too_high=5e-6,
        broken="the SimPO authors searched its rate from 3e-7 to 1e-6 (arXiv 2405.14734)",
        source=f"the SimPO authors' DPO models and {_HANDBOOK}",
        beta=(0.01, 0.5),
    ),
    "orpo": Published(
        rates=(5e-6, 8e-6),
        too_high=5e-5,
        broken="its authors trained at 8e-6 (arXiv 2403.07691)",
        source=f"arXiv 2403.07691 and {_HANDBOOK}",
        beta=(0.05, 1.0),
    ),
    "sft": Published(
        rates=(5e-6, 2e-5),
        too_high=2e-4,
        broken="full fine-tuning of the handbook's models took 2e-5",
        source=_HANDBOOK,
    ),
}
"""Method -> its settings; a method that is not here is not judged by them."""
