"""Answers to a few fixed prompts while a model trains: for the eye, for trackers and for the alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from tqdm.auto import tqdm
from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from alignment.data.messages import Message, unpack
from alignment.errors import printable
from alignment.generation.answers import Answer
from alignment.generation.engine import Request
from alignment.generation.quality import quality
from alignment.generation.transformers_engine import TransformersEngine
from alignment.recipe.generation_settings import GenerationSettings
from alignment.run.callbacks.alarms.length_drift import TOKENS
from alignment.run.callbacks.alarms.repetition import REPEATED
from alignment.run.callbacks.extra_logs import log_beside
from alignment.run.callbacks.tracking import show_answers

PROMPTS = 8
MOST_TOKENS = 128
_SHOWN = 240
"""Characters of an answer in the log."""


class SampleAnswers(TrainerCallback):
    """Before the first step and every so many steps, the model answers greedily; numbers and answers are logged.

    Every rank answers the same prompts: a sharded model (ZeRO-3, FSDP) is gathered layer by layer, which takes all of
    them, and greedy answers are the same on each. No random number is drawn, so training goes on as without it.

    Args:
        trainer: whose model answers.
        tokenizer: with its chat template.
        conversations: prompts as messages.
        every: steps.
    """

    def __init__(
        self,
        trainer: Trainer,
        tokenizer: PreTrainedTokenizerBase,
        conversations: Sequence[Sequence[Message]],
        *,
        every: int,
    ) -> None:
        self._trainer = trainer
        self._tokenizer = tokenizer
        self._requests = [
            Request(id=str(number), messages=messages, seed=0) for number, messages in enumerate(conversations)
        ]
        self._every = every

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == 0:
            self._sample(args, state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self._every == 0:
            self._sample(args, state)

    def _sample(self, args: TrainingArguments, state: TrainerState) -> None:
        answers = self._answers()
        questions = [str(request.messages[-1]["content"]) for request in self._requests]
        if state.is_world_process_zero:
            for question, answer in zip(questions, answers, strict=True):
                tqdm.write(f"step {state.global_step}, asked '{_line(question)}': '{_line(answer.text)}'")
            show_answers(args.report_to, state.global_step, questions, [answer.text for answer in answers])
        log_beside(self._trainer, sample_numbers(questions, answers))

    def _answers(self) -> list[Answer]:
        model = self._trainer.accelerator.unwrap_model(self._trainer.model)
        settings = GenerationSettings(temperature=0, max_new_tokens=MOST_TOKENS)
        engine = TransformersEngine(settings, model, self._tokenizer)
        drawn = {request.id: answer for request, answer in engine.answers(self._requests)}
        return [drawn[request.id] for request in self._requests]


def sample_numbers(questions: Sequence[str], answers: Sequence[Answer]) -> dict[str, float]:
    """What is logged of the answers."""
    found = quality(questions, answers)
    return {
        TOKENS: fmean(answer.tokens or 0 for answer in answers),
        REPEATED: found.repeating,
        "samples/empty": found.empty,
        "samples/unfinished": found.unfinished,
    }


def fixed_prompts(rows: Sequence[Mapping[str, Any]]) -> list[list[Message]]:
    """What is asked in a few checked rows, at even distances."""
    count = min(PROMPTS, len(rows))
    return [prompt_of(rows[at * len(rows) // count]) for at in range(count)]


def prompt_of(row: Mapping[str, Any]) -> list[Message]:
    """Every turn of a checked row before its last answer."""
    if "prompt" in row:
        return unpack(row["prompt"])
    messages = unpack(row["messages"])
    last = max(at for at, message in enumerate(messages) if message["role"] == "assistant")
    return messages[:last]


def _line(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
