"""Figures that were published of the reference's models, to stand beside one's own.

From the model card of princeton-nlp/gemma-2-9b-it-SimPO: AlpacaEval 2 (length-controlled and raw win rate, mean length
in characters), Arena-Hard v0.1, and GSM8K and MMLU, zero-shot by ZeroEval.
"""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = {
    "alpaca_eval": ("length-controlled win rate", "win rate", "length"),
    "arena_hard": ("score", "length in tokens"),
    "lm_eval": ("gsm8k", "mmlu"),
}
_FIGURES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "google/gemma-2-9b-it": {"alpaca_eval": (51.1, 38.1, 1571), "arena_hard": (40.8, 545), "lm_eval": (87.4, 72.7)},
    "princeton-nlp/gemma-2-9b-it-DPO": {
        "alpaca_eval": (67.8, 65.4, 2016),
        "arena_hard": (58.9, 717),
        "lm_eval": (88.5, 72.2),
    },
    "princeton-nlp/gemma-2-9b-it-SimPO": {
        "alpaca_eval": (72.4, 65.9, 1833),
        "arena_hard": (59.1, 693),
        "lm_eval": (88.0, 72.2),
    },
}
_TRAINED = {
    ("google/gemma-2-9b-it", "dpo"): "princeton-nlp/gemma-2-9b-it-DPO",
    ("google/gemma-2-9b-it", "simpo"): "princeton-nlp/gemma-2-9b-it-SimPO",
}
"""Base model and method -> what was published of such a run."""


def published_row(model: str, suite: str) -> dict[str, float]:
    """Metric -> value, as it was published of a model; empty where nothing was."""
    figures = _FIGURES.get(model, {}).get(suite)
    return {} if figures is None else dict(zip(_NAMES[suite], figures, strict=True))


def published_models(base: str, method: str) -> list[str]:
    """The published models that a run of this method from this base stands beside."""
    return [name for name in (base, _TRAINED.get((base, method), "")) if name in _FIGURES]
