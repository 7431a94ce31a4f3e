"""What `evaluation:` states about public benchmarks. No heavy imports: the recipe check reads this file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from alignment.errors import Fault
from alignment.recipe.generation_settings import GenerationSettings
from alignment.recipe.suite_rules import at_least_one, generation_faults


@dataclass(frozen=True, kw_only=True)
class AlpacaEvalSuite:
    """AlpacaEval 2 (arXiv 2404.04475), by the prompts, the order of answers and the parsing of its own library."""

    annotator: str = "weighted_alpaca_eval_gpt4_turbo"
    """Configuration of the library's that judges."""
    evaluation_set: str | None = None
    """File of rows `{instruction, output, generator}`: what is asked, and the baseline's answers; the library's own
    805 when absent."""
    max_instructions: int | None = None
    """The first ones only, for a trial; then there is no length-controlled win rate."""
    generation: GenerationSettings | None = None
    """How answers are drawn; by `evaluation.generation` when absent."""

    def faults(self, key: str) -> Iterator[Fault]:
        """Every rule that these values break."""
        yield from at_least_one(self, key, "max_instructions")
        yield from generation_faults(self, key, one_seed=True)


@dataclass(frozen=True, kw_only=True)
class ArenaHardSuite:
    """Arena-Hard (arXiv 2406.11939). Questions, baseline answers and prompts are its authors' own."""

    version: Literal["v0.1", "v2"] = "v0.1"
    repository: str | None = None
    """A clone of https://github.com/lmarena/arena-hard-auto, whose questions, baseline answers and judge's prompts are
    used; the one that `make data` fetches when absent."""
    category: str | None = None
    """Of v2: hard_prompt when absent, or creative_writing."""
    max_questions: int | None = None
    """The first ones only, for a trial."""
    generation: GenerationSettings | None = None
    """How answers are drawn; by `evaluation.generation` when absent."""

    def faults(self, key: str) -> Iterator[Fault]:
        """Every rule that these values break."""
        yield from at_least_one(self, key, "max_questions")
        if self.category is not None and self.version != "v2":
            yield Fault(key=f"{key}.category", value=self.category, rule="belongs to version v2", remedy="remove it")
        yield from generation_faults(self, key, one_seed=True)


@dataclass(frozen=True, kw_only=True)
class LmEvalSuite:
    """Tasks of lm-evaluation-harness, asked through the chat template."""

    tasks: tuple[str, ...]
    """Names (`gsm8k`, `mmlu`, `ifeval`, ...), or YAML files of tasks of one's own."""
    include: tuple[str, ...] = ()
    """Folders whose tasks have names too."""
    num_fewshot: int | None = None
    """Examples before each question; the task's own number when absent."""
    limit: int | None = None
    """The first questions of each task only, for a trial."""
    batch_size: int | Literal["auto"] = "auto"
    """Requests computed together; `auto` is what a GPU holds, and 8 on a CPU."""
    system_instruction: str | None = None
    """A system message before each question."""
    max_length: int | None = None
    """Tokens of question and answer together; the model's own limit when absent."""

    def faults(self, key: str) -> Iterator[Fault]:
        """Every rule that these values break."""
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            yield Fault(key=f"{key}.tasks", value=self.tasks, rule="must be one or more different names")
        yield from at_least_one(self, key, "limit", "max_length")
        if self.batch_size != "auto":
            yield from at_least_one(self, key, "batch_size")
        if self.num_fewshot is not None and self.num_fewshot < 0:
            yield Fault(key=f"{key}.num_fewshot", value=self.num_fewshot, rule="must not be negative")
