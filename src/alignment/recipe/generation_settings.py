"""How answers are drawn: which engine, and how it samples. No heavy imports: the recipe check reads this file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from alignment.errors import Fault, did_you_mean

ENGINES = ("auto", "transformers", "vllm", "server")
HOW_FAST = frozenset({"key_variable", "max_in_flight", "timeout", "attempts", "tokens_per_batch", "tensor_parallel"})
"""Settings that do not decide what an answer says."""
MOST_TOKENS = 2**20
COLDEST, HOTTEST = 1e-3, 100.0
"""Temperatures by which logits can be divided in 16 bits and still say something."""


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """Answers of one model."""

    engine: str = "auto"
    """`transformers` and `vllm` run in this process, `server` asks an OpenAI-compatible endpoint. `auto` is the server
    where `base_url` is stated, vllm where it is installed and there is a GPU, and transformers otherwise."""

    base_url: str | None = None
    """Address of the server, up to and with `/v1`."""
    server_model: str | None = None
    """The model as the server calls it; `model_name_or_path` when absent."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the server's key; unset for a server that wants none."""
    max_in_flight: int | None = None
    """Requests that a server has to answer at the same time. When absent 32, and 1 for `transformers serve`, which
    answers one after the other, and whose seed would be the other's as well."""
    timeout: float = 600.0
    """Seconds that a server may take for one answer."""
    attempts: int = 10
    """How often one request is sent to a server in trouble: ten span some six minutes, in which it may come back."""

    temperature: float = 0.8
    """Softmax temperature; 0 is greedy."""
    top_p: float = 1.0
    """Share of the probability that is drawn from; 1 is the whole softmax."""
    top_k: int | None = None
    """Tokens that are drawn from, the likeliest; 0 is all of them. Not stated it is 0 too, except that a server is not
    told, whose own default then stands: some servers refuse the field."""
    max_new_tokens: int = 1024
    """Longest answer in tokens; an answer that gets there has not finished."""
    seeds: tuple[int, ...] = (0,)
    """One answer is drawn to each prompt by each seed."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer beside the stop tokens of template and model; they do not belong to it."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end an answer beside those."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision in this process: bf16 on a GPU and float32 on a CPU when `auto`."""
    tokens_per_batch: int = 32_768
    """Tokens (prompts, padding and answers) that transformers holds at once: the key-value cache is of this size.
    Halved by itself where memory does not do."""
    tensor_parallel: int = 1
    """GPUs over which vllm splits the model."""

    def faults(self, key: str = "generation") -> Iterator[Fault]:
        """Every rule that these values break; `key` is where they stand, empty for options of a command."""
        at = f"{key}." if key else ""
        if self.engine not in ENGINES:
            remedy = did_you_mean(self.engine, ENGINES)
            yield Fault(
                key=f"{at}engine", value=self.engine, rule=f"must be one of {', '.join(ENGINES)}", remedy=remedy
            )
        if self.engine == "server" and self.base_url is None:
            remedy = "state it, such as http://127.0.0.1:8000/v1"
            yield Fault(key=f"{at}base_url", rule="must be stated for the engine server", remedy=remedy)
        if self.engine in ("transformers", "vllm") and self.base_url is not None:
            rule = f"is read by the engine server, and the engine is {self.engine}"
            yield Fault(key=f"{at}base_url", value=self.base_url, rule=rule, remedy="remove one of them")
        for name, most in _COUNTS.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                yield Fault(key=f"{at}{name}", value=value, rule=f"must be at least 1 and at most {most}")
        yield from self._sampling_faults(at)

    def _sampling_faults(self, at: str) -> Iterator[Fault]:
        if self.temperature != 0 and not COLDEST <= self.temperature <= HOTTEST:
            rule = f"must be 0 (greedy), or between {COLDEST:g} and {HOTTEST:g}"
            remedy = "0.7 is lively, 1 is the model's own distribution"
            yield Fault(key=f"{at}temperature", value=self.temperature, rule=rule, remedy=remedy)
        if not 0 < self.top_p <= 1:
            remedy = "1 draws from the whole softmax"
            yield Fault(key=f"{at}top_p", value=self.top_p, rule="must be above 0 and at most 1", remedy=remedy)
        if self.top_k is not None and self.top_k < 0:
            remedy = "0 draws from all tokens"
            yield Fault(key=f"{at}top_k", value=self.top_k, rule="must not be negative", remedy=remedy)
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            yield Fault(key=f"{at}timeout", value=self.timeout, rule="must be above 0, in seconds")
        yield from self._seed_faults(at)
        if not all(self.stop):
            yield Fault(key=f"{at}stop", value=self.stop, rule="must hold no empty text", remedy="remove it")
        if any(token < 0 for token in self.stop_token_ids):
            yield Fault(key=f"{at}stop_token_ids", value=self.stop_token_ids, rule="must hold token ids, from 0 on")

    def _seed_faults(self, at: str) -> Iterator[Fault]:
        seeds = self.seeds
        if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
            rule = "must be one or more different whole numbers from 0 to 4294967295"
            yield Fault(key=f"{at}seeds", value=seeds, rule=rule, remedy="such as [13, 21, 42, 79, 100]")
        elif self.temperature == 0 and len(seeds) > 1:
            rule = "must be one seed at temperature 0, since greedy answers are all the same"
            remedy = "state one, or a temperature above 0"
            yield Fault(key=f"{at}seeds", value=seeds, rule=rule, remedy=remedy)


_COUNTS = {
    "max_in_flight": 4096,
    "attempts": 100,
    "max_new_tokens": MOST_TOKENS,
    "tokens_per_batch": 2**30,
    "tensor_parallel": 64,
}
"""Whole numbers from 1 on, and what would be a slip of the finger."""
