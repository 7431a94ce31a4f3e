"""The settings that decide which tokens of a row are kept, and which of them are trained, for each kind of method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from alignment.data.chat import GenerationPrompt

AssistantTurns = Literal["all", "last"]
"""Which answers of a conversation are trained."""
Truncation = Literal["reference", "completion_aware"]
TruncationMode = Literal["keep_end", "keep_start"]


@dataclass(frozen=True, kw_only=True)
class TokenRules:
    """Five recipe keys. They are part of the objective: lengths divide the log-probabilities.

    Raises:
        ValueError: a value that no rule has; recipes are checked before.
    """

    max_length: int
    """Most tokens of prompt and completion together."""
    max_prompt_length: int
    """Tokens that a prompt may keep once the pair is too long; below `max_length`."""
    truncation_mode: TruncationMode = "keep_end"
    """Whether a prompt that is cut keeps its end or its start."""
    truncation: Truncation = "reference"
    """Who is cut: `reference` cuts both completions of a too long pair, `completion_aware` only what is too long."""
    generation_prompt: GenerationPrompt = "completion"
    """Whether the assistant's header is completion (the reference) or prompt (TRL)."""

    def __post_init__(self) -> None:
        longest, prompt = self.max_length, self.max_prompt_length
        if not 0 < prompt < longest:
            # A completion may be cut to the difference, and no tokens have no mean log-probability.
            raise ValueError(f"max_prompt_length {prompt} must be above 0 and below max_length {longest}")
        for name, allowed in (
            ("truncation_mode", TruncationMode),
            ("truncation", Truncation),
            ("generation_prompt", GenerationPrompt),
        ):
            if (value := getattr(self, name)) not in get_args(allowed):
                raise ValueError(f"{name} {value!r} must be one of {', '.join(get_args(allowed))}")

    @classmethod
    def read(cls, setting: Callable[[str], Any]) -> TokenRules:
        """From whatever holds the settings: `setting(key)` is the value of one."""
        return cls(**{field.name: setting(field.name) for field in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class DPORules:
    """As TRL has it: the assistant's header is prompt, and its collator cuts each conversation to `max_length`."""

    max_length: int | None
    truncation_mode: TruncationMode = "keep_start"
    generation_prompt: GenerationPrompt = "prompt"

    @classmethod
    def read(cls, setting: Callable[[str], Any]) -> DPORules:
        """As `TokenRules.read`."""
        return cls(max_length=setting("max_length"), truncation_mode=setting("truncation_mode"))


@dataclass(frozen=True, kw_only=True)
class SFTRules:
    """Which tokens of a conversation supervised fine-tuning trains."""

    max_length: int | None
    """Most tokens of a conversation; `None` where packing splits longer ones."""
    truncation_mode: TruncationMode = "keep_start"
    assistant_turns: AssistantTurns = "all"
    answers_only: bool = True
    """Whether only answers are trained, or every token."""

    @classmethod
    def read(cls, setting: Callable[[str], Any]) -> SFTRules:
        """As `TokenRules.read`."""
        splits = setting("packing") and setting("packing_strategy") in ("bfd_split", "wrapped")
        return cls(
            max_length=None if splits else setting("max_length"),
            truncation_mode=setting("truncation_mode"),
            assistant_turns=setting("assistant_turns"),
            answers_only=setting("completion_only_loss") is not False or bool(setting("assistant_only_loss")),
        )


@dataclass(frozen=True, kw_only=True)
class RewardRules:
    """How long the conversations of a pair may be that a reward model reads whole."""

    max_length: int | None
    truncation_mode: TruncationMode = "keep_end"
    """Of a prompt; answers stay whole."""
    generation_prompt: GenerationPrompt = "completion"

    @classmethod
    def read(cls, setting: Callable[[str], Any]) -> RewardRules:
        """As `TokenRules.read`."""
        return cls(max_length=setting("max_length"))


PairRules = TokenRules | DPORules | RewardRules
Rules = PairRules | SFTRules
