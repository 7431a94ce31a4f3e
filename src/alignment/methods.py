"""The methods, as data. Adding one takes a row here, a loss, a recipe and a test (CONTRIBUTING.md)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from alignment.bound import Bound, above, at_least, count

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


_REWARDS = (
    *("loss", "rewards/accuracies", "rewards/margins", "rewards/chosen", "rewards/rejected"),
    *("logps/chosen", "logps/rejected", "logits/chosen", "logits/rejected"),
)
_PAIRS = (*_REWARDS, "preference_loss", "sft_loss", "lengths/chosen", "lengths/rejected")


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to align a model: what it is, and what it can, so that nobody else has to know its name.

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
    data: Literal["preference", "conversation"] = "preference"
    """What a row is: a preference pair, or one conversation."""
    rules: str = "alignment.data.token_rules:TokenRules"
    """`module:Class` of the rules by which its rows become tokens."""
    metrics: tuple[str, ...] = _PAIRS
    """What an evaluation gives, without `eval_`: the names that `metric_for_best_model` can have."""
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


_ENDS = ("keep_start", "keep_end")
_SHARE = Bound(low=0, high=1, remedy="a share between 0 and 1")

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
        logps=None,
        shares_prompts=False,
        words={
            "truncation_mode": _ENDS,
            "loss_type": ("nll", "dft", "chunked_nll"),
            "packing_strategy": ("bfd", "bfd_split", "wrapped"),
        },
        relations="alignment.recipe.sft_relations:SFT_RULES",
        recomputation=("selective",),
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
        config="alignment.trainers.dpo_config:DPOConfig",
        trainer="alignment.trainers.dpo:DPOTrainer",
        built_on_trl=True,
        rules="alignment.data.token_rules:DPORules",
        metrics=(*_REWARDS, "mean_token_accuracy", "entropy"),
        reference=True,
        logps="sum",
        bounds={
            "precompute_ref_batch_size": count(1, 2**16, "remove it for per_device_train_batch_size"),
            "ref_model_sync_steps": at_least(1, "512 is the default"),
            "ref_model_mixup_alpha": _SHARE,
            "ld_alpha": _SHARE,
            "discopop_tau": above(0, "0.05 is usual"),
            "loss_weights[]": at_least(0, "1 is usual; remove a loss rather than weigh it 0"),
        },
        words={
            "truncation_mode": _ENDS,
            "f_divergence_type": ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"),
            "loss_type": (
                *("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot"),
                *("aot_unpaired", "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"),
            ),
        },
        relations="alignment.recipe.dpo_relations:DPO_RULES",
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
        config="alignment.trainers.config:SimPOConfig",
        trainer="alignment.trainers.simpo:SimPOTrainer",
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
        config="alignment.trainers.config:ORPOConfig",
        trainer="alignment.trainers.orpo:ORPOTrainer",
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
