"""What a method of alignment is: the columns of the table in `alignment.methods`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from alignment.bound import Bound

if TYPE_CHECKING:
    from transformers import TrainingArguments

REWARD_METRICS = (
    *("loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected"),
    *("logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected"),
)
PAIR_METRICS = (*REWARD_METRICS, "preference_loss", "sft_loss", "lengths/chosen", "lengths/rejected")
"""What an evaluation by `ReferenceFreeTrainer` gives."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    title: str
    authors: str
    year: int
    arxiv: str

    @property
    def url(self) -> str:
        return f"https://arxiv.org/abs/{self.arxiv}"

    def bibtex(self, key: str) -> str:
        return (
            f"@article{{{key},\n  title = {{{self.title}}},\n  author = {{{self.authors}}},\n"
            f"  journal = {{arXiv preprint arXiv:{self.arxiv}}},\n  year = {{{self.year}}}\n}}"
        )


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to align a model: what it is, and what it can, so that no other module has to name it.

    What is not said is that of the reference-free methods trained here. Classes are named, not imported, so that a
    method costs nothing until it runs.
    """

    name: str
    title: str
    config: str
    """`module:Class` of its `TrainingArguments`."""
    trainer: str
    """`module:Class` of its `transformers.Trainer`, a `trainers.reporting.ReportingTrainer`."""
    paper: Paper
    formula: str
    """The objective as LaTeX, for the model card."""
    symbols: Mapping[str, str] = field(default_factory=dict)
    """Key -> its letter in the formula, of the keys that it alone has."""
    data: Literal["preference", "conversation"] = "preference"
    """What a row is: a preference pair, or one conversation."""
    rules: str = "alignment.data.token_rules:TokenRules"
    """`module:Class` of the rules by which its rows become tokens."""
    metrics: tuple[str, ...] = PAIR_METRICS
    """What an evaluation gives, without `eval_`: the names that `metric_for_best_model` can have."""
    reward_model: bool = False
    """What is trained gives a conversation a number (`scoring.load_scorer`) and answers nothing."""
    reference: bool = False
    """The loss compares with a frozen reference model."""
    logps: Literal["mean", "sum"] | None = "mean"
    """What of a completion the loss takes, and `logps/...` log: the mean log-probability of its tokens, or the sum."""
    shares_prompts: bool = True
    """`packing: true` computes a micro-batch as one row, in which the completions of a pair share their prompt."""
    built_on_trl: bool = False
    """The trainer derives from TRL's; the model card gives credit. Others derive from `ReferenceFreeTrainer`."""
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    """Intervals of the keys that it alone has, or has in another sense than others."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Key -> the words it takes, where the config class only says `str`."""
    relations: str | None = None
    """`module:TUPLE` of the rules between its keys (`recipe.relations`)."""
    recomputation: tuple[str, ...] = ()
    """Switches in `gradient_checkpointing_kwargs` that are its trainer's, not PyTorch's."""

    @property
    def plans_steps(self) -> bool:
        """Ours alone decides which pairs make a step, and from the memory at hand how they are computed."""
        return not self.built_on_trl

    def config_class(self) -> type[TrainingArguments]:
        return _load(self.config)

    def trainer_class(self) -> Any:
        return _load(self.trainer)

    def token_rules(self, setting: Callable[[str], Any]) -> Any:
        """The rules, read from whatever holds the settings: `setting(key)` is the value of one."""
        return _load(self.rules).read(setting)

    def relation_rules(self) -> tuple[Any, ...]:
        """Its rules between keys, each of settings to an iterator of faults."""
        return _load(self.relations) if self.relations else ()


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
