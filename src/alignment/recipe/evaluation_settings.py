"""What the recipe key `evaluation:` states. No heavy imports: the recipe check reads this file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from alignment.errors import Fault, did_you_mean
from alignment.recipe.benchmark_settings import AlpacaEvalSuite, ArenaHardSuite, LmEvalSuite
from alignment.recipe.generation_settings import GenerationSettings
from alignment.recipe.sample_evaluation import RULE_NAMES
from alignment.recipe.suite_rules import at_least_one, generation_faults


@dataclass(frozen=True, kw_only=True)
class PreferenceSuite:
    """Log-probabilities of held-out preference pairs."""

    dataset: str | None = None
    """Hub id, or a local file or folder; the recipe's own data when absent."""
    config: str | None = None
    """Configuration (subset) of `dataset`."""
    revision: str | None = None
    """Branch, tag or commit of `dataset` on the Hub."""
    split: str | None = None
    """Split to take; the recipe's test split when absent, and `test` of another data set."""
    max_rows: int | None = None
    """The first rows only."""
    tokens_per_batch: int = 16_384
    """Tokens computed together."""

    def faults(self, key: str) -> Iterator[Fault]:
        """Every rule that these values break."""
        yield from at_least_one(self, key, "max_rows", "tokens_per_batch")
        for name in ("config", "revision"):
            if self.dataset is None and getattr(self, name) is not None:
                yield Fault(
                    key=f"{key}.{name}", value=getattr(self, name), rule="belongs to dataset", remedy="state it"
                )


@dataclass(frozen=True, kw_only=True)
class RewardModelSuite:
    """How often a scorer ranks pairs rightly."""

    scorer: str
    """What `alignment.scoring.load_scorer` takes: folder, Hub id, `module:function`, or a judge's address."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of that kind of scorer."""
    dataset: str
    """File of rows `{prompt, chosen, rejected, subset?}`, as RewardBench has them."""
    max_rows: int | None = None
    """The first rows only."""

    def faults(self, key: str) -> Iterator[Fault]:
        """Every rule that these values break."""
        yield from at_least_one(self, key, "max_rows")


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """A judge behind an OpenAI-compatible endpoint. The environment decides over what is stated here."""

    base_url: str | None = None
    """Address up to and with `/v1`; the environment's JUDGE_BASE_URL."""
    model: str | None = None
    """As the server calls it; JUDGE_MODEL, or else the one that the benchmark prescribes."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the key."""
    price_per_mtok: tuple[float, ...] | None = None
    """Price of a million tokens that go in, and that come out; JUDGE_PRICE_PER_MTOK=in,out. For the estimate only."""
    concurrency: int = 16
    """Questions that are open at the same time."""
    tries: int = 3
    """How often one question is asked until the answer holds a verdict."""
    attempts: int = 6
    """How often one question is sent to a server in trouble."""
    timeout: float = 120.0
    """Seconds for one answer."""

    def faults(self, key: str) -> Iterator[Fault]:
        """Every rule that these values break."""
        yield from at_least_one(self, key, "concurrency", "tries", "attempts", "timeout")
        price = self.price_per_mtok
        if price is not None and (len(price) != 2 or min(price) < 0):
            yield Fault(key=f"{key}.price_per_mtok", value=price, rule="must be two prices, in and out: [10, 30]")


@dataclass(frozen=True, kw_only=True)
class WinRateSuite:
    """The model's answers against those of the base, to the same prompts."""

    prompts: str | None = None
    """JSONL file of rows `{"prompt": str}`; those of `sample_evaluation` when absent."""
    by: str | None = None
    """Who compares: a rule (`house_style`), `judge`, or what `alignment.scoring.load_scorer` takes; the rule of
    `sample_evaluation` when absent."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of the scorer."""
    max_prompts: int | None = None
    """The first prompts only."""
    generation: GenerationSettings | None = None
    """How answers are drawn; as in `sample_evaluation` when absent, else by `evaluation.generation`."""

    def faults(self, key: str) -> Iterator[Fault]:
        """Every rule that these values break."""
        yield from at_least_one(self, key, "max_prompts")
        yield from generation_faults(self, key)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What `make evaluate` measures. A suite that is not stated has its defaults, where it needs nothing stated."""

    suites: tuple[str, ...] | None = None
    """What runs when no SUITE is named; every suite that is stated when absent."""
    preferences: PreferenceSuite | None = None
    reward_model: RewardModelSuite | None = None
    win_rate: WinRateSuite | None = None
    alpaca_eval: AlpacaEvalSuite | None = None
    arena_hard: ArenaHardSuite | None = None
    lm_eval: LmEvalSuite | None = None

    generation: GenerationSettings = field(
        default_factory=lambda: GenerationSettings(temperature=0.0, max_new_tokens=4096)
    )
    """How answers are drawn where a suite does not say."""
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    """Who judges where a suite needs a judge."""

    def faults(self, key: str = "evaluation") -> Iterator[Fault]:
        """Every rule that these values break, for the recipe check (which adds that the files exist)."""
        for name in (*SUITES, "generation", "judge"):
            section = getattr(self, name)
            if section is not None:
                yield from section.faults(f"{key}.{name}")
        yield from unknown_suites(self.suites or (), key=f"{key}.suites")


SUITES = ("preferences", "reward_model", "win_rate", "alpaca_eval", "arena_hard", "lm_eval")
"""Names of the suites, in the order in which they run."""
WITHOUT_ANSWERS = ("suites", "reward_model", "judge")
"""Keys of the section that a recipe without a model that answers may state."""
FILES = (
    "reward_model.dataset",
    "win_rate.prompts",
    "alpaca_eval.evaluation_set",
)
"""Keys that name a file."""
FOLDERS = ("arena_hard.repository",)
"""Keys that name a folder."""
SCORERS = ("reward_model.scorer", "win_rate.by")
"""Keys that name a scorer, or one of `NO_SCORERS`."""
NO_SCORERS = (*RULE_NAMES, "judge")


def unknown_suites(names: tuple[str, ...], *, key: str) -> Iterator[Fault]:
    """A fault for every name that is no suite's."""
    for name in names:
        if name not in SUITES:
            yield Fault(key=key, value=name, rule=f"must be of {', '.join(SUITES)}", remedy=did_you_mean(name, SUITES))
