"""Rules that follow from what the row of a method says it can."""

from __future__ import annotations

from collections.abc import Iterator

from alignment.errors import Fault
from alignment.methods import METHODS
from alignment.recipe.evaluation_settings import WITHOUT_ANSWERS
from alignment.recipe.settings import Settings


def _planned_steps(s: Settings) -> Iterator[Fault]:
    """What a trainer that plans its steps decides itself; a statement to the contrary would have no effect."""
    if s.method is None or not METHODS[s.method].plans_steps:
        return
    if s.sound("train_sampling_strategy") and s["train_sampling_strategy"] != "random":
        yield Fault(
            key="train_sampling_strategy",
            value=s["train_sampling_strategy"],
            rule="must be random: the seed decides which pairs make a step",
            remedy="remove it; packing groups the pairs of a step by length already",
        )
    if s.sound("remove_unused_columns") and s.stated.get("remove_unused_columns"):
        yield Fault(
            key="remove_unused_columns",
            value=True,
            rule=f"must be false for {s.method}, whose columns are not arguments of the model",
            remedy="remove it",
        )


def _shared_answers(s: Settings) -> Iterator[Fault]:
    if s.sound("share_answers", "packing") and s["share_answers"] and not s["packing"]:
        yield Fault(
            key="share_answers",
            value=True,
            rule="needs packing: true, since padded rows share nothing",
            remedy="add that, or remove this",
        )
    if s.sound("share_answers", "dataset_mixture") and s["share_answers"] and s["dataset_mixture"] is not None:
        yield Fault(
            key="share_answers",
            value=True,
            rule="needs the pairs of a prompt one after another, and dataset_mixture shuffles them",
            remedy="use dataset_name, or remove this",
        )


def _answers(s: Settings) -> Iterator[Fault]:
    """What asks the trained model something."""
    if s.method is None or not METHODS[s.method].reward_model:
        return
    section = s.stated.get("evaluation") or {}
    asking = [f"evaluation.{name}" for name in section if section[name] is not None and name not in WITHOUT_ANSWERS]
    for key in ("sample_evaluation", "sample_every", *asking):
        if key in asking or s.stated.get(key):
            yield Fault(
                key=key,
                rule=f"needs a model that answers, and {s.method} trains one that scores",
                remedy="remove it; eval_strategy: steps says how many held-out pairs it ranks rightly",
            )


def _packing(s: Settings) -> Iterator[Fault]:
    """What would not do in a packed row what it does in a padded one."""
    if s.method is None or not METHODS[s.method].shares_prompts or not (s.sound("packing") and s["packing"]):
        return
    compiles = "would compile for every new length of a packed row; what gains by it is compiled anyway"
    for key, rule in (
        ("neftune_noise_alpha", "scales its noise by the length of a row, which packing changes"),
        *((key, compiles) for key in ("torch_compile", "torch_compile_backend", "torch_compile_mode")),
    ):
        if s.sound(key) and s[key]:
            yield Fault(key=key, value=s[key], rule=rule, remedy="remove it, or set packing: false")


METHOD_RULES = (_planned_steps, _answers, _shared_answers, _packing)
