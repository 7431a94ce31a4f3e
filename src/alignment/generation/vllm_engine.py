"""Answers drawn in this process by vLLM, which reads token ids: the prompt is rendered here, with one BOS."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from alignment.errors import Fault, SetupError, sentence_of
from alignment.generation.answers import Answer
from alignment.generation.engine import Request
from alignment.generation.prompts import Asked, Prompts, positions_of
from alignment.generation.sampling import stream_of
from alignment.generation.stop import Stops
from alignment.modeling.adapter_folder import is_adapter
from alignment.modeling.load import model_folder, tokenizer_revision
from alignment.modeling.stopping import stop_token_ids
from alignment.recipe.generation_settings import GenerationSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from alignment.recipe import ModelArguments

WINDOW = 4096
"""Requests given to vLLM at once: it keeps the GPU full until the last of them are being answered."""


def installed() -> bool:
    """Whether vLLM can be imported here."""
    return importlib.util.find_spec("vllm") is not None


def load_vllm(settings: GenerationSettings, model: ModelArguments, tokenizer: PreTrainedTokenizerBase) -> VllmEngine:
    """The model in vLLM, on the GPUs that this process sees.

    Raises:
        SetupError: vLLM is not installed, or cannot load the model.
    """
    if is_adapter(model.model_name_or_path):
        remedy = "name the merged model, or use engine: transformers"
        raise SetupError(
            Fault(key="generation.engine", value="vllm", rule="is given a folder of adapters", remedy=remedy)
        )
    if not installed():
        remedy = '`.venv/bin/pip install ".[vllm]"`, or use engine: transformers'
        raise SetupError(Fault(key="generation.engine", value="vllm", rule="is not installed", remedy=remedy))
    from transformers import AutoConfig, GenerationConfig
    from vllm import LLM

    folder = model_folder(model)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
    stated = (folder / "generation_config.json").is_file()
    habits = GenerationConfig.from_pretrained(folder) if stated else None
    try:
        llm = LLM(
            model=str(folder),
            tokenizer=model.tokenizer_name_or_path or str(folder),
            tokenizer_revision=tokenizer_revision(model) if model.tokenizer_name_or_path else None,
            trust_remote_code=model.trust_remote_code,
            dtype="bfloat16" if settings.dtype == "auto" else settings.dtype,
            tensor_parallel_size=settings.tensor_parallel,
            generation_config="vllm",  # the recipe's sampling alone, not the model's own
        )
    except (RuntimeError, ValueError, OSError) as error:
        rule = f"cannot load {model.model_name_or_path}: {sentence_of(error)}"
        remedy = "see that the GPUs are free and tensor_parallel fits, or use engine: transformers"
        raise SetupError(Fault(key="generation.engine", value="vllm", rule=rule, remedy=remedy)) from error
    return VllmEngine(settings, llm, tokenizer, ends=stop_token_ids(tokenizer, habits), positions=positions_of(config))


class VllmEngine:
    """An `Engine` around a `vllm.LLM`.

    Args:
        ends: tokens that end an answer, beside those of the settings.
        positions: tokens that prompt and answer may have together.
    """

    name = "vllm"

    def __init__(
        self,
        settings: GenerationSettings,
        llm: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        ends: Sequence[int],
        positions: int | None,
    ) -> None:
        self._settings = settings
        self._llm = llm
        self._prompts = Prompts(tokenizer, longest=settings.max_new_tokens, positions=positions)
        self._stops = Stops(tokenizer, ids={*ends, *settings.stop_token_ids}, texts=settings.stop)

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """See `Engine.answers`.

        Raises:
            DataError: requests that the chat template refuses, or that are too long for the model.
        """
        from vllm.inputs import TokensPrompt

        for window in self._prompts.windows(requests, size=WINDOW):
            prompts = [TokensPrompt(prompt_token_ids=asked.ids) for asked in window]
            outputs = self._llm.generate(prompts, [self._sampling(asked) for asked in window], use_tqdm=False)
            for asked, output in zip(window, outputs, strict=True):
                # The end of the answer is found by its tokens, as in the other engines.
                yield asked.request, self._stops.answer(list(output.outputs[0].token_ids))

    def stream(self, request: Request, write: Callable[[str], object]) -> Answer:
        """See `Engine.stream`: one piece, as `vllm.LLM` gives whole answers."""
        ((_, answer),) = self.answers([request])
        write(answer.text)
        return answer

    def close(self) -> None:
        """See `Engine.close`."""
        import torch

        self._llm = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _sampling(self, asked: Asked) -> Any:
        from vllm import SamplingParams

        settings = self._settings
        return SamplingParams(
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k or 0,
            seed=stream_of(asked.ids, asked.request.seed),
            max_tokens=asked.room,
            stop=list(settings.stop) or None,
            stop_token_ids=sorted(self._stops.ids),
            detokenize=bool(settings.stop),
        )
