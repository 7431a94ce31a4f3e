"""What the engine uses of vLLM, in signatures of `vllm.LLM` and `vllm.SamplingParams` as its documentation has them.

Answers are fixed tokens, cut as vLLM cuts: at a stop token, which stays, or at `max_tokens`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SAID = [30, 31, 32, 33, 5, 34]
"""What the stand-in draws for any prompt."""


@dataclass
class SamplingParams:
    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    detokenize: bool = True


@dataclass
class CompletionOutput:
    token_ids: tuple[int, ...]


@dataclass
class RequestOutput:
    outputs: list[CompletionOutput]


@dataclass
class LLM:
    model: str
    tokenizer: str | None = None
    trust_remote_code: bool = False
    tensor_parallel_size: int = 1
    dtype: str = "auto"
    revision: str | None = None
    tokenizer_revision: str | None = None
    generation_config: str = "auto"
    asked: list = field(default_factory=list)

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None) -> list[RequestOutput]:
        assert len(prompts) == len(sampling_params)
        self.asked += zip(prompts, sampling_params, strict=True)
        return [RequestOutput([CompletionOutput(tuple(self._cut(params)))]) for params in sampling_params]

    def _cut(self, params: SamplingParams) -> list[int]:
        end = next((at + 1 for at, token in enumerate(SAID) if token in params.stop_token_ids), len(SAID))
        return SAID[: min(end, params.max_tokens)]
