"""Answers drawn in this process by transformers, in batches of a bounded number of tokens."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from alignment.errors import Fault, SetupError
from alignment.generation.answers import Answer
from alignment.generation.engine import Request
from alignment.generation.prompts import Asked, Prompts, batches, positions_of
from alignment.generation.sampling import processors, stream_of
from alignment.generation.stop import Stops
from alignment.modeling.stopping import stop_token_ids
from alignment.recipe.generation_settings import GenerationSettings


class TransformersEngine:
    """An `Engine` around a model that is loaded already.

    Every answer has its own stream of random numbers, made from its prompt and its seed, so that the draw does not
    depend on the batch. What does is the last digits of the logits, as matrix products round differently in other
    shapes: in float32 that hardly ever changes a token, in bf16 it now and then does.

    The decoding is that of the settings alone: what the model's `generation_config` says beside its stop tokens, such
    as a repetition penalty, is not followed.

    Raises:
        SetupError: the chat template shows no end of an answer.
    """

    name = "transformers"

    def __init__(
        self, settings: GenerationSettings, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self._settings = settings
        self._model = model
        self._tokenizer = tokenizer
        self._budget = settings.tokens_per_batch
        self._prompts = Prompts(tokenizer, longest=settings.max_new_tokens, positions=positions_of(model.config))
        ends = {*stop_token_ids(tokenizer, model.generation_config), *settings.stop_token_ids}
        self._stops = Stops(tokenizer, ids=ends, texts=settings.stop)

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """See `Engine.answers`.

        Raises:
            DataError: requests that the chat template refuses, or that are too long for the model.
            SetupError: one answer alone does not fit into memory, or the model's logits are no numbers.
        """
        for window in self._prompts.windows(requests):
            waiting = batches(window, self._budget)
            while waiting:
                batch = waiting.pop(0)
                try:
                    rows = self._drawn(batch)
                except RuntimeError as error:
                    if not _out_of_memory(error):
                        raise
                    rows = None
                if rows is None:  # outside of the handler, whose exception holds on to the batch's memory
                    waiting = self._smaller([batch, *waiting])
                    continue
                for asked, row in zip(batch, rows, strict=True):
                    yield asked.request, self._stops.answer(row)

    def stream(self, request: Request, write: Callable[[str], object]) -> Answer:
        """See `Engine.stream`."""
        (asked,) = self._prompts.read([request])
        pieces = _Pieces(self._stops, write)
        (row,) = self._drawn([asked], streamer=pieces)
        return self._stops.answer(row)

    def close(self) -> None:
        """See `Engine.close`."""
        self._model = None
        _free_memory()

    def _drawn(self, batch: Sequence[Asked], **options: Any) -> list[list[int]]:
        """Token ids of an answer to each, with what padding follows its end."""
        model = self._model
        ids, mask = (tensor.to(model.device) for tensor in left_padded([one.ids for one in batch]))
        chain = processors(self._settings, [stream_of(one.ids, one.request.seed) for one in batch])
        with undisturbed(model), torch.no_grad():  # under ZeRO-3 inference mode would mark the weights it gathers
            generate: Any = model.generate
            rows = generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=self._decoding(batch[0].room),
                logits_processor=chain,
                tokenizer=self._tokenizer,
                **options,
            )
        if chain[0].broken:
            raise SetupError(_no_numbers(model))
        return rows[:, ids.shape[1] :].tolist()

    def _decoding(self, room: int) -> GenerationConfig:
        ends = sorted(self._stops.ids)
        return GenerationConfig(
            do_sample=False,  # the last logits processor draws
            max_new_tokens=room,
            eos_token_id=ends or None,
            pad_token_id=self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else 0,
            stop_strings=list(self._settings.stop) or None,
            use_cache=True,
        )

    def _smaller(self, waiting: Sequence[Sequence[Asked]]) -> list[list[Asked]]:
        """The batches that wait, cut to half the tokens of the first one, which were too many for the memory."""
        _free_memory()
        first = waiting[0]
        if len(first) == 1:
            rule = f"of {first[0].tokens} tokens with its answer does not fit into the memory of this device"
            remedy = "lower max_new_tokens, leave it out, or use a larger device"
            raise SetupError(Fault(key=f"request {first[0].request.id}", rule=rule, remedy=remedy))
        self._budget = max(first[0].tokens, max(one.tokens for one in first) * len(first) // 2)
        return batches([one for batch in waiting for one in batch], self._budget)


class _Pieces(BaseStreamer):
    """Writes an answer as its tokens come."""

    def __init__(self, stops: Stops, write: Callable[[str], object]) -> None:
        self._stops = stops
        self._write = write
        self._ids: list[int] | None = None
        self._written = 0

    def put(self, value: Tensor) -> None:
        """Takes the prompt first, then each token."""
        if self._ids is None:
            self._ids = []
            return
        self._ids += value.flatten().tolist()
        self._show(self._stops.settled(self._ids))

    def end(self) -> None:
        """The answer is complete."""
        self._show(self._stops.text(self._ids or []))

    def _show(self, text: str) -> None:
        if piece := text[self._written :]:
            self._write(piece)
            self._written = len(text)


@contextmanager
def undisturbed(model: PreTrainedModel) -> Iterator[None]:
    """The model in evaluation mode and without its own decoding defaults; both are restored at the end."""
    training, habits = model.training, model.generation_config
    model.eval()
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.train(training)
        model.generation_config = habits


def left_padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask `[B, T]`, padded on the left, so that every answer starts in the same column."""
    width = max(map(len, rows))
    ids = [[*[0] * (width - len(row)), *row] for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)


def _out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; on a CPU only its message tells."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _no_numbers(model: PreTrainedModel) -> Fault:
    return Fault(
        key="model_name_or_path",
        value=model.config.name_or_path,
        rule="has logits that are no numbers, of which nothing can be drawn",
        remedy="its weights are broken, or overflow in this dtype: try dtype float32, or train it again",
    )
