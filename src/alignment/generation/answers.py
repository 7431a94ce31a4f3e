"""Answers of a causal language model to many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One sampled answer."""

    text: str
    """The answer without end token, surrounding blanks removed."""
    finished: bool
    """Whether the model ended the answer itself, before the token limit."""
    tokens: int | None
    """Number of tokens drawn, the end token included; `None` where a server does not say."""


def draw_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    samples: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    batch_size: int,
    system: str | None = None,
    advance: Callable[[int], Any] | None = None,
) -> list[list[Answer]]:
    """`samples` answers to each prompt, each prompt being a user's whole first turn.

    The draw is decided by `seed` and by the batches, so the same call with the same model gives the same answers. The
    random state and the mode (train or eval) of the caller are left as they were.

    Args:
        temperature: Softmax temperature; 0 is greedy.
        batch_size: Answers generated together.
        system: A system message before each prompt; `None` leaves that to the chat template.
        advance: Called with the number of answers after each batch.

    Returns:
        One list of `samples` answers for each prompt, in the order of `prompts`.
    """
    import torch

    from alignment.modeling.stopping import stop_token_ids

    stops = stop_token_ids(tokenizer, model.generation_config)
    queue = [prompt for prompt in prompts for _ in range(samples)]
    decoding: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if temperature > 0:
        decoding = {"do_sample": True, "temperature": temperature, "top_p": 1.0, "top_k": 0}
    generate: Any = model.generate
    answers: list[Answer] = []
    was_training = model.training
    model.eval()
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.inference_mode():
        torch.manual_seed(seed)
        for start in range(0, len(queue), batch_size):
            inputs = _left_padded(tokenizer, queue[start : start + batch_size], system).to(model.device)
            rows = generate(
                **inputs,
                **decoding,
                max_new_tokens=max_new_tokens,
                eos_token_id=stops,
                pad_token_id=tokenizer.pad_token_id,
                use_cache=True,
            )
            answers += [_answer(tokenizer, row, stops) for row in rows[:, inputs["input_ids"].shape[1] :].tolist()]
            if advance is not None:
                advance(len(rows))
    model.train(was_training)
    return [answers[at : at + samples] for at in range(0, len(answers), samples)]


def _left_padded(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], system: str | None) -> Any:
    """Token ids and mask [B, T], padded on the left, so that every answer starts in the same column."""
    opening = [] if system is None else [{"role": "system", "content": system}]
    conversations = [[*opening, {"role": "user", "content": prompt}] for prompt in prompts]
    texts = tokenizer.apply_chat_template(conversations, tokenize=False, add_generation_prompt=True)
    return tokenizer(texts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")


def _answer(tokenizer: PreTrainedTokenizerBase, ids: list[int], stops: Sequence[int]) -> Answer:
    """Cuts one row at its first end token; what follows is padding."""
    end = next((at for at, token in enumerate(ids) if token in stops), None)
    drawn = ids if end is None else ids[:end]
    return Answer(
        text=str(tokenizer.decode(drawn, skip_special_tokens=True)).strip(),
        finished=end is not None,
        tokens=len(ids) if end is None else end + 1,
    )
