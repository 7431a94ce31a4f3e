"""What a recipe of preference pairs (`method: pairs`) can state. No heavy imports: the recipe check reads this file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from alignment.errors import Fault
from alignment.recipe.cleaning import Decontamination
from alignment.recipe.generation_settings import GenerationSettings
from alignment.recipe.selection import SelectionSettings

PAIRS = "pairs"
"""The value of `method` in such a recipe."""


@dataclass(frozen=True, kw_only=True)
class PromptSettings:
    """Which prompts are answered: those of one data set, each once, in alphabetical order."""

    dataset_name: str
    """Hub id, or a local JSON/JSONL/Parquet file or folder."""
    dataset_config: str | None = None
    """Configuration (subset) of the data set."""
    dataset_revision: str | None = None
    """Branch, tag or commit on the Hub."""
    dataset_split: str = "train"
    """Split, or a part of one such as `train[:5%]`."""
    column: str | None = None
    """What holds a prompt: text (a user's question) or a list of messages, of which those before the last answer are
    taken. `prompt`, or else `messages`, when absent."""
    on_bad_row: Literal["error", "drop"] = "error"
    """What to do with rows that hold no prompt."""
    min_tokens: int | None = None
    """Shorter prompts are left out; tokens of the model that answers, chat template included."""
    max_tokens: int | None = None
    """Longer prompts are left out."""
    languages: tuple[str, ...] | None = None
    """ISO 639-1 codes, such as `en`: prompts in others are left out. `undetermined` is of those too short to tell."""
    near_duplicates: float | None = None
    """Prompts to which an earlier one is at least so similar, from 0.5 to 1, are left out."""
    decontaminate: Decontamination | None = None
    """Prompts that overlap evaluation prompts: told, left out or refused; `against` names those."""
    max_rows: int | None = None
    """Most prompts: a random choice by `seed`. More of them later keep those of before."""
    skip_rows: int = 0
    """Prompts that `max_rows` passes over in the order that `seed` gives, in which the first follows the last."""
    seed: int = 0
    """Seed of that choice."""
    system_messages: tuple[str | None, ...] = (None,)
    """Each prompt is answered under each of these, by each seed; null is without any. Neither the scorer nor the pairs
    see them: a model learns to do unasked what it can do when asked."""

    def faults(self, key: str = "prompts") -> Iterator[Fault]:
        """Every rule that these values break."""
        if None not in (self.min_tokens, self.max_tokens) and self.min_tokens > self.max_tokens:  # type: ignore[operator]
            rule = f"must not be above max_tokens {self.max_tokens}"
            yield Fault(key=f"{key}.min_tokens", value=self.min_tokens, rule=rule, remedy="no prompt would be left")
        if self.decontaminate is not None and not self.decontaminate.against:
            yield Fault(key=f"{key}.decontaminate.against", rule="names no evaluation prompts", remedy="list some")
        if self.skip_rows < 0 or (self.skip_rows and self.max_rows is None):
            rule = "must not be negative" if self.skip_rows < 0 else "passes over nothing without max_rows"
            yield Fault(key=f"{key}.skip_rows", value=self.skip_rows, rule=rule, remedy="0 passes over none")
        texts = self.system_messages
        if not texts or len(set(texts)) < len(texts) or any(text is not None and not text.strip() for text in texts):
            rule = "must be one or more different texts, of which one may be null"
            yield Fault(key=f"{key}.system_messages", value=texts, rule=rule, remedy="remove it for none at all")


@dataclass(frozen=True, kw_only=True)
class ScorerSettings:
    """What gives answers their scores; see `alignment.scoring.load_scorer`."""

    name: str
    """Folder or Hub id of a reward model or ArmoRM, address of a judge, or a function such as `package.module:name`."""
    revision: str = "main"
    """Branch, tag or commit of a Hub id."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of that kind of scorer, such as `max_length`, or `model` and `rubric` of a judge."""
    batch_size: int = 64
    """Answers that are handed over, and kept, at a time."""


@dataclass(frozen=True, kw_only=True)
class PairsArguments:
    """All of a recipe of preference pairs. Answers, scores and pairs are made in the order of its sections."""

    model_name_or_path: str
    """The model that answers: Hub id, local folder, or `bundled:<name>`."""
    model_revision: str = "main"
    """Branch, tag or commit on the Hub."""
    tokenizer_name_or_path: str | None = None
    """Where the tokenizer comes from when it is not the model's own."""
    trust_remote_code: bool = False
    """Run the code that comes with the model; for repositories you trust."""
    attn_implementation: str | None = None
    """`eager`, `sdpa`, `flash_attention_2`, ...; the model's default when absent."""
    chat_template: str | None = None
    """Inline Jinja, a file, or the name of a shipped template (`gemma2`); the tokenizer's own when absent."""

    prompts: PromptSettings
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    scorer: ScorerSettings
    selection: SelectionSettings = field(default_factory=SelectionSettings)

    test_size: int | float | None = 0.05
    """Prompts (>= 1) or share of the prompts (< 1) whose pairs are the split `test`; null makes none."""
    seed: int = 0
    """Seed of that choice."""
    output_dir: str | None = None
    """Folder of the data set; `outputs/<recipe>` when absent."""
    overwrite_output_dir: bool = False
    """Make answers and scores anew where their settings have changed. Those of before stay on disk, for the time when
    the settings are restored."""

    license: str | None = None
    """License of the data set, for its card, as the Hub spells it (`mit`, `apache-2.0`)."""
    push_to_hub: bool = False
    """Publish the data set when it is made."""
    hub_dataset_id: str | None = None
    """Where to: `owner/name`, or `name` in one's own account; the folder's name when absent."""
    hub_private_repo: bool | None = None
    """Whether a new repository is private."""
    hub_revision: str | None = None
    """Branch that is written to; `main` when absent."""


def size_faults(size: int | float | None) -> Iterator[Fault]:
    """What is wrong with `test_size`."""
    if size is not None and not (0 < size < 1 or (size >= 1 and size == int(size))):
        rule = "must be a number of prompts, or a share of them above 0 and below 1"
        yield Fault(key="test_size", value=size, rule=rule, remedy="0.05 is one prompt in twenty; null makes none")
