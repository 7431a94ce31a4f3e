"""What foreign preference trainers say in other terms than ours: the margin, the supervised term, the batch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alignment.errors import Fault, RecipeError
from alignment.recipe.convert.draft import Draft, Table
from alignment.recipe.convert.source import Source

NOT_HERE = {
    "kto": "KTO trains on single answers, not on pairs; pairs of them train with method: dpo and loss_type: apo_zero",
    "grpo": "it draws answers while it trains; here, make pairs draws and scores them first, and method: simpo trains",
    "ppo": "it draws answers while it trains; here, make pairs draws and scores them first, and method: simpo trains",
    "cpo": "CPO compares sums of log-probabilities; with loss_type: simpo it is method: simpo, with sft_weight",
    "pt": "pre-training is not offered here; method: sft trains on conversations",
}
"""Methods of others that are not trained here, and what comes near."""


_SAID = re.compile(r"\bGBS\s*(?:of|=|:)?\s*(\d+)")
"""A comment that states the global batch size."""


_SIMPO_GPUS = 4


def refuse(name: str, key: str) -> RecipeError:
    """The error for a recipe whose objective is not offered here."""
    remedy = NOT_HERE.get(name, "sft, dpo, simpo, orpo, alphapo and reward modeling are converted")
    return RecipeError(Fault(key=key, value=name, rule="cannot be converted", remedy=remedy))


def margin(draft: Draft, *, key: str, default: float, beta: float) -> None:
    """`gamma_beta_ratio` from the foreign margin gamma, which is subtracted from rewards that hold beta already.

    `beta` is the foreign default, for when the recipe says none.
    """
    stated = draft.settings.get("beta")
    gamma = draft.take(key)
    scale = beta if stated is None else stated
    if stated is None:
        draft.add("beta", beta, "the default there")
    told = f"gamma / beta = {gamma if gamma is not None else default} / {scale}"
    ratio = round((default if gamma is None else gamma) / scale, 10)
    if gamma is None:
        draft.add("gamma_beta_ratio", ratio, f"{told}, the default of {key} there")
    else:
        draft.change(key, gamma, {"gamma_beta_ratio": ratio}, told)


def supervised(draft: Draft, *, key: str, default: float = 0.0) -> None:
    """The weight of the chosen answers' cross-entropy: `sft_weight`, or a second loss of DPO."""
    weight = draft.take(key)
    if weight is None and default:
        draft.add("sft_weight", default, f"the default of {key} there")
    elif weight and draft.method == "dpo":
        first = draft.settings.get("loss_type", "sigmoid")
        losses = [*first, "sft"] if isinstance(first, list) else [first, "sft"]
        draft.change(key, weight, {"loss_type": losses, "loss_weights": [1.0] * (len(losses) - 1) + [weight]})
    elif weight is not None and draft.method != "dpo":
        draft.change(key, weight, {"sft_weight": weight})


def batch(draft: Draft, source: Source, gpus: int | None) -> None:
    """The rows of a step, which elsewhere depend on the number of GPUs."""
    if (said := _SAID.search(source.comments)) and gpus is None:
        draft.settings.pop("gradient_accumulation_steps", None)
        draft.add("global_batch_size", int(said[1]), "its comment says so; accumulation follows from it")
    micro = draft.settings.get("per_device_train_batch_size", 8)
    steps = draft.settings.get("gradient_accumulation_steps", 1)
    if "global_batch_size" in draft.settings or not (isinstance(micro, int) and isinstance(steps, int)):
        return
    told, why = f"{micro} rows x {steps} accumulated", ""
    if gpus is None and source.processes is not None:
        gpus, why = source.processes, " of the launcher"
    elif gpus is None and "gamma_beta_ratio" in source.settings:
        gpus, why = _SIMPO_GPUS, ", for which the SimPO authors' files are; give --gpus for another number"
    if gpus is not None:
        draft.settings.pop("gradient_accumulation_steps", None)
        draft.settings["per_device_train_batch_size"] = micro
        draft.add("global_batch_size", micro * steps * gpus, f"{told} x {gpus} GPUs{why}; accumulation follows from it")
        return
    draft.note(
        "note",
        "batch",
        f": {told} on each GPU, {micro * steps * 8} rows a step on 8; to have them on any number of GPUs write "
        f"global_batch_size: {micro * steps * 8} instead of gradient_accumulation_steps, or convert with --gpus 8",
    )


def finish(draft: Draft, table: Table, defaults: Mapping[str, Any], whose: str) -> Draft:
    """What is left over once the keys that mean something together have been taken: by `table`, by name, by default.

    Args:
        defaults: ours, for what a recipe of `whose` leaves unsaid.
    """
    draft.by_table(table)
    draft.by_name()
    draft.defaults(defaults, whose)
    lengths(draft)
    return draft


def lengths(draft: Draft) -> None:
    """`max_prompt_length`, which the reference-free methods have here and trainers elsewhere may not."""
    longest = draft.settings.get("max_length")
    if draft.method in ("sft", "dpo", "reward") or not isinstance(longest, int):
        return
    if "max_prompt_length" not in draft.settings:
        draft.add("max_prompt_length", longest * 7 // 8, "of pairs that are too long; not said there")
