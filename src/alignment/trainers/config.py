"""Settings of the reference-free methods. Names follow TRL and the SimPO authors' recipes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType

from alignment.data.chat import GenerationPrompt
from alignment.data.token_rules import Truncation, TruncationMode


def computes_bf16() -> bool:
    """Whether the GPU multiplies in bf16 natively."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


@dataclass(kw_only=True)
class ReferenceFreeConfig(TrainingArguments):
    """What every reference-free preference method shares.

    A pair's reward is the mean log-probability per completion token, so lengths and truncation are part
    of the objective.

    Schedule and precision are those of the released SimPO models: one epoch, cosine after a warm-up of a tenth of it,
    bf16. With transformers' own (5e-5, three epochs, linear, no warm-up) a chat model collapses.
    """

    learning_rate: float = field(default=1e-6, metadata={"help": "Peak of the schedule."})
    num_train_epochs: float = field(default=1.0, metadata={"help": "Times that every pair is shown."})
    lr_scheduler_type: SchedulerType | str = field(default="cosine", metadata={"help": "Shape of the schedule."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Steps of warm-up, or a share of the run below 1."})
    bf16: bool | None = field(
        default=None,
        metadata={"help": "Compute in bf16; when absent, where the GPU can and fp16 is not set."},
    )
    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={"help": "Log a loss that is no number as the mean so far; costs a wait for the GPU a micro-batch."},
    )
    max_length: int = field(default=2048, metadata={"help": "Tokens of prompt + completion, at most."})
    max_prompt_length: int = field(default=1800, metadata={"help": "Tokens of a prompt that must be cut."})
    truncation_mode: TruncationMode = field(
        default="keep_end", metadata={"help": "Which end of a too long prompt stays."}
    )
    truncation: Truncation = field(
        default="reference",
        metadata={
            "help": "`reference` cuts both completions of a too long pair, as the released models were trained; "
            "`completion_aware` cuts only what is too long."
        },
    )
    generation_prompt: GenerationPrompt = field(
        default="completion",
        metadata={"help": "Where the assistant header counts: in the completion (reference) or the prompt (TRL)."},
    )
    packing: bool = field(
        default=True,
        metadata={"help": "Pack pairs into one row with the prompt shared; equal losses, several times faster."},
    )
    share_answers: bool = field(
        default=False,
        metadata={
            "help": "Compute pairs that follow each other with the same prompt as one row, each answer once; a step's "
            "batch then counts such rows. Equal losses, faster; needs packing."
        },
    )
    allow_slow_attention: bool = field(
        default=False,
        metadata={"help": "Train a model of over 1B weights on a GPU for which no attention kernel works."},
    )
    tokens_per_device: int | None = field(
        default=None,
        metadata={"help": "Tokens a packed micro-batch may hold; derived from the device's memory when absent."},
    )
    disable_dropout: bool = field(default=True, metadata={"help": "Set the model's dropout to 0."})
    dataset_num_proc: int | None = field(default=None, metadata={"help": "Processes that tokenize."})

    def __post_init__(self) -> None:
        if self.bf16 is None:
            self.bf16 = not (self.fp16 or self.use_cpu) and computes_bf16()
        super().__post_init__()
        # Rows are chosen by column name in the collator; the Trainer's pruning by forward signature would drop them.
        self.remove_unused_columns = False


@dataclass(kw_only=True)
class MarginConfig(ReferenceFreeConfig):
    """A loss of the two rewards alone, to which the likelihood of the chosen completion can be added.

    With SimPO's loss that is CPO-SimPO (github.com/fe1ixxu/CPO_SIMPO; CPO: Xu et al. 2024, arXiv 2401.08417).
    """

    sft_weight: float = field(
        default=0.0, metadata={"help": "Weight of the cross-entropy over chosen tokens added to the loss."}
    )


@dataclass(kw_only=True)
class SimPOConfig(MarginConfig):
    """SimPO (Meng, Xia, Chen 2024, arXiv 2405.14734).

    Its authors searched learning rates from 3e-7 to 1e-6, and released models of this range.
    """

    beta: float = field(default=2.0, metadata={"help": "Reward scale, > 0."})
    gamma_beta_ratio: float = field(
        default=0.25, metadata={"help": "Target margin gamma as a fraction of beta: gamma = gamma_beta_ratio * beta."}
    )
    loss_type: Literal["sigmoid", "hinge"] = field(default="sigmoid", metadata={"help": "Shape of the loss."})
    label_smoothing: float = field(
        default=0.0, metadata={"help": "Probability that a label is flipped, 0 <= label_smoothing < 0.5."}
    )


@dataclass(kw_only=True)
class SimPERConfig(MarginConfig):
    """SimPER (Xiao et al. 2025, arXiv 2502.00883), which has nothing to tune but the learning rate.

    Its authors trained with SimPO's: 3e-7 to 1e-6.
    """


@dataclass(kw_only=True)
class RePOConfig(MarginConfig):
    """RePO (Wu et al. 2025, arXiv 2503.07426).

    Its authors used a margin of 0.4 for Gemma-2 and Mistral and 0.6 for Llama-3, at rates from 6e-7 to 1e-6.
    """

    gamma: float = field(
        default=0.4, metadata={"help": "Margin in nats per token from which a pair is left alone, >= 0."}
    )


@dataclass(kw_only=True)
class AlphaPOConfig(MarginConfig):
    """AlphaPO (Gupta et al. 2025, arXiv 2501.03884); the defaults are those of its Mistral-Instruct model."""

    learning_rate: float = field(default=7e-7, metadata={"help": "Peak of the schedule."})
    beta: float = field(default=2.5, metadata={"help": "Reward scale, > 0."})
    gamma_beta_ratio: float = field(
        default=0.1, metadata={"help": "Target margin gamma as a fraction of beta: gamma = gamma_beta_ratio * beta."}
    )
    alpha: float = field(default=0.25, metadata={"help": "Shape of the reward; 0 is SimPO's."})


@dataclass(kw_only=True)
class ORPOConfig(ReferenceFreeConfig):
    """ORPO (Hong, Lee, Thorne 2024, arXiv 2403.07691); `beta` is the paper's lambda.

    Its likelihood term takes a higher rate than a pure preference loss; the paper's is 8e-6.
    """

    learning_rate: float = field(default=8e-6, metadata={"help": "Peak of the schedule."})
    beta: float = field(default=0.1, metadata={"help": "Weight of the odds-ratio term, > 0."})
