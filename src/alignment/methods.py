"""The methods, as data. Adding one takes a row here, a loss, a recipe and a test (CONTRIBUTING.md)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import TrainingArguments


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
    """One way to align a model. Classes are named, not imported, so that a method costs nothing until it runs."""

    name: str
    title: str
    data: Literal["preference", "conversation"]
    """What a row is: a preference pair, or one conversation."""
    config: str
    """`module:Class` of its `TrainingArguments`."""
    trainer: str
    """`module:Class` of its `transformers.Trainer`."""
    rules: str
    """`module:Class` of the rules by which its rows become tokens."""
    metrics: tuple[str, ...]
    """What an evaluation gives, without `eval_`: the names that `metric_for_best_model` can have."""
    paper: Paper
    formula: str
    """The objective as LaTeX, for the model card."""
    built_on_trl: bool = False
    """The trainer is TRL's, or derives from it; the model card gives credit."""

    def config_class(self) -> type[TrainingArguments]:
        return _load(self.config)

    def trainer_class(self) -> Any:
        return _load(self.trainer)

    def token_rules(self, setting: Callable[[str], Any]) -> Any:
        """The rules, read from whatever holds the settings: `setting(key)` is the value of one."""
        return _load(self.rules).read(setting)


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


_REWARDS = (
    *("loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected"),
    *("logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected"),
)
_PAIRS = (*_REWARDS, "preference_loss", "sft_loss", "lengths/chosen", "lengths/rejected")

METHODS: dict[str, Method] = {
    "sft": Method(
        name="sft",
        title="Supervised fine-tuning",
        data="conversation",
        config="alignment.trainers.sft_config:SFTConfig",
        trainer="alignment.trainers.sft:SFTTrainer",
        built_on_trl=True,
        rules="alignment.data.token_rules:SFTRules",
        metrics=("loss",),
        paper=Paper(
            title="Training language models to follow instructions with human feedback",
            authors="Ouyang, Long and Wu, Jeff and Jiang, Xu and others",
            year=2022,
            arxiv="2203.02155",
        ),
        formula=r"\mathcal{L} = -\frac{1}{|y|} \sum_t \log \pi_\theta(y_t \mid x, y_{<t})",
    ),
    "dpo": Method(
        name="dpo",
        title="Direct Preference Optimization",
        data="preference",
        config="alignment.trainers.dpo_config:DPOConfig",
        trainer="alignment.trainers.dpo:DPOTrainer",
        built_on_trl=True,
        rules="alignment.data.token_rules:DPORules",
        metrics=(*_REWARDS, "mean_token_accuracy", "entropy"),
        paper=Paper(
            title="Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
            authors="Rafailov, Rafael and Sharma, Archit and Mitchell, Eric and Ermon, Stefano and "
            "Manning, Christopher D. and Finn, Chelsea",
            year=2023,
            arxiv="2305.18290",
        ),
        formula=r"\mathcal{L} = -\log \sigma\left("
        r"\beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_\mathrm{ref}(y_w \mid x)}"
        r" - \beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_\mathrm{ref}(y_l \mid x)}\right)",
    ),
    "simpo": Method(
        name="simpo",
        title="Simple Preference Optimization",
        data="preference",
        config="alignment.trainers.config:SimPOConfig",
        trainer="alignment.trainers.simpo:SimPOTrainer",
        rules="alignment.data.token_rules:TokenRules",
        metrics=_PAIRS,
        paper=Paper(
            title="SimPO: Simple Preference Optimization with a Reference-Free Reward",
            authors="Meng, Yu and Xia, Mengzhou and Chen, Danqi",
            year=2024,
            arxiv="2405.14734",
        ),
        formula=r"\mathcal{L} = -\log \sigma\left(\frac{\beta}{|y_w|} \log \pi_\theta(y_w \mid x)"
        r" - \frac{\beta}{|y_l|} \log \pi_\theta(y_l \mid x) - \gamma\right)",
    ),
    "orpo": Method(
        name="orpo",
        title="Odds Ratio Preference Optimization",
        data="preference",
        config="alignment.trainers.config:ORPOConfig",
        trainer="alignment.trainers.orpo:ORPOTrainer",
        rules="alignment.data.token_rules:TokenRules",
        metrics=_PAIRS,
        paper=Paper(
            title="ORPO: Monolithic Preference Optimization without Reference Model",
            authors="Hong, Jiwoo and Lee, Noah and Thorne, James",
            year=2024,
            arxiv="2403.07691",
        ),
        formula=r"\mathcal{L} = -\frac{1}{|y_w|} \log \pi_\theta(y_w \mid x)"
        r" - \beta \log \sigma\left("
        r"\log \frac{\mathrm{odds}_\theta(y_w \mid x)}{\mathrm{odds}_\theta(y_l \mid x)}\right)",
    ),
}
