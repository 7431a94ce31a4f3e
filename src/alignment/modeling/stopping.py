"""The tokens that end an answer."""

from __future__ import annotations

from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from alignment.data.messages import RowFault
from alignment.data.template_markers import askable, stop_ids, template_marks
from alignment.errors import Fault, SetupError


def stop_token_ids(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None = None) -> list[int]:
    """Every id that ends an answer: the tokenizer's eos, the template's end of turn, and the model's own.

    The end of turn is `<end_of_turn>` for Gemma, `<|eot_id|>` for Llama 3, `<|im_end|>` for ChatML.
    Sorted and free of repetition; for Gemma `[1, 107]`, `<eos>` and `<end_of_turn>`.

    Raises:
        SetupError: the chat template renders no exchange that would show it.
    """
    known: Any = generation_config.eos_token_id if generation_config is not None else None
    stated = {token for token in (known if isinstance(known, list) else [known]) if token is not None}
    if not tokenizer.chat_template:
        return sorted(stated | ({tokenizer.eos_token_id} - {None}))
    try:
        askable(tokenizer)
    except RowFault as fault:
        raise SetupError(
            Fault(
                key="chat_template",
                rule=f"renders no question, alone or behind a system message ({fault}), so nothing shows how it ends "
                "an answer",
                remedy="let it render one, or use another template",
            )
        ) from fault
    return sorted(stated | stop_ids(tokenizer, template_marks(tokenizer)))


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
