"""The tokens that end an answer."""

from __future__ import annotations

from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

_PROBE = "ok"


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the chat template writes right after an assistant's words.

    `<end_of_turn>` for Gemma, `<|eot_id|>` for Llama 3, `<|im_end|>` for ChatML; `None` when the template
    closes a turn with plain text alone.
    """
    messages = [{"role": "user", "content": _PROBE}, {"role": "assistant", "content": _PROBE}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer(text[text.rindex(_PROBE) + len(_PROBE) :], add_special_tokens=False)["input_ids"]
    special = special_ids(tokenizer)
    return next((token for token in ids if token in special), None)


def stop_token_ids(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None = None) -> list[int]:
    """Every id that ends an answer: the tokenizer's eos, the template's end of turn, and the model's own.

    Sorted and free of repetition; for Gemma `[1, 107]`, `<eos>` and `<end_of_turn>`.
    """
    known: Any = generation_config.eos_token_id if generation_config is not None else None
    ids = {tokenizer.eos_token_id, *(known if isinstance(known, list) else [known])}
    if tokenizer.chat_template:
        ids.add(end_of_turn_id(tokenizer))
    return sorted(token for token in ids if token is not None)


def answering_config(generation_config: Any, tokenizer: PreTrainedTokenizerBase) -> Any:
    """A copy of `generation_config` that stops at every end of an answer and uses the cache."""
    config = type(generation_config).from_dict(generation_config.to_dict())
    config.eos_token_id = stop_token_ids(tokenizer, generation_config)
    config.pad_token_id = tokenizer.pad_token_id
    config.bos_token_id = tokenizer.bos_token_id
    config.use_cache = True
    if not config.do_sample and any(
        getattr(config, name, None) is not None for name in ("temperature", "top_p", "top_k")
    ):
        # Some published models set a temperature without sampling, which transformers refuses to save.
        config.do_sample = True
    return config


def special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of control tokens, those added beside the named bos/eos/pad included."""
    added = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)
