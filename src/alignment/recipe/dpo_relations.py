"""Rules between the keys of DPO, which TRL would only state once model and data are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alignment.errors import Fault
from alignment.recipe.settings import Settings

_DIVERGING = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft")
"""Losses in which the constant of another divergence cancels."""
_SORTING = ("aot", "aot_unpaired")
"""Losses that sort the pairs of a batch."""


def _losses(s: Settings) -> Iterator[Fault]:
    if not s.sound("loss_type"):
        return
    losses = s["loss_type"]
    if not losses:
        yield Fault(key="loss_type", value=losses, rule="must name at least one loss", remedy="such as sigmoid")
        return
    twice = sorted({loss for loss in losses if losses.count(loss) > 1})
    if twice:
        yield Fault(
            key="loss_type",
            value=losses,
            rule=f"must name {', '.join(twice)} once",
            remedy="give it a weight with loss_weights",
        )
    if "exo_pair" in losses and s.sound("label_smoothing") and not s["label_smoothing"]:
        yield Fault(
            key="label_smoothing",
            value=s["label_smoothing"],
            rule="must be above 0 with loss_type exo_pair",
            remedy="the EXO paper uses 1e-3",
        )
    divergence = s["f_divergence_type"]
    rest = [loss for loss in losses if loss not in _DIVERGING]
    if s.sound("f_divergence_type") and divergence != "reverse_kl" and rest:
        yield Fault(
            key="f_divergence_type",
            value=divergence,
            rule=f"cannot be combined with loss_type {', '.join(rest)}",
            remedy="write reverse_kl, or a loss that is a function of the difference of both log-ratios, like sigmoid",
        )
    if s.sound("use_weighting") and s["use_weighting"] and any(loss in _SORTING for loss in losses):
        yield _contradiction("use_weighting", True, f"loss_type {', '.join(losses)}, which sorts the pairs")


def _reference(s: Settings) -> Iterator[Fault]:
    if not (s.sound("sync_ref_model") and s.stated.get("sync_ref_model")):
        return
    if s.sound("use_peft") and s["use_peft"]:
        yield _contradiction("sync_ref_model", True, "use_peft: true, whose reference is the model without adapters")
    if s.sound("precompute_ref_log_probs") and s["precompute_ref_log_probs"]:
        yield _contradiction(
            "sync_ref_model", True, "precompute_ref_log_probs: true, which asks the reference model once"
        )


def _rows(s: Settings) -> Iterator[Fault]:
    """How rows become batches."""
    if s.sound("padding_free") and s["padding_free"]:
        yield Fault(
            key="padding_free",
            value=True,
            rule="is not available for dpo",
            remedy="remove it; packing: true computes every micro-batch without padding",
        )
    if s.sound("train_sampling_strategy") and s["train_sampling_strategy"] == "group_by_length":
        yield Fault(
            key="train_sampling_strategy",
            value="group_by_length",
            rule="is not available for dpo, whose rows have two lengths",
            remedy="write random or sequential",
        )


def _loss_weights(s: Settings) -> Iterator[Fault]:
    weights, losses = s["loss_weights"], s["loss_type"]
    if weights is not None and s.sound("loss_weights", "loss_type") and len(weights) != len(losses or []):
        yield Fault(
            key="loss_weights",
            value=weights,
            rule=f"must be as many as the losses of loss_type ({len(losses)})",
            remedy="give one weight for each",
        )


def _contradiction(key: str, value: Any, other: str) -> Fault:
    return Fault(key=key, value=value, rule=f"contradicts {other}", remedy="keep one of the two")


DPO_RULES = (_losses, _loss_weights, _reference, _rows)
