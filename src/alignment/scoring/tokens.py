"""Conversations to the token ids that a scoring model reads: chat template, one BOS, nothing cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from alignment.data.chat import render
from alignment.data.pairs import RowFault
from alignment.data.tokenize import with_one_bos
from alignment.errors import DataError, Fault, SetupError, sentence_of
from alignment.recipe.chat_templates import resolve_chat_template
from alignment.scoring.scorer import Conversation, row_name

_NO_LIMIT = 10**9
"""A tokenizer without a limit of its own states one far above this."""


def load_scoring_tokenizer(folder: Path, name: str, *, chat_template: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a scoring model.

    Args:
        folder: where the model lies.
        name: what the user calls it.
        chat_template: Jinja, a file or the name of a shipped template, in place of the tokenizer's own.

    Raises:
        SetupError: there is no tokenizer, or no chat template.
        RecipeError: `chat_template` is no template.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError) as error:
        rule = f"has no tokenizer that can be loaded: {sentence_of(error)}"
        raise SetupError(
            Fault(key="scorer", value=name, rule=rule, remedy="save the tokenizer beside the model")
        ) from error
    if chat_template is not None:
        tokenizer.chat_template = resolve_chat_template(chat_template)
    if not tokenizer.chat_template:
        raise SetupError(
            Fault(
                key="scorer",
                value=name,
                rule="has no chat template, so there is no telling how it read conversations when it was trained",
                remedy="state the one it was trained with as chat_template: a shipped name, a file, or inline Jinja",
            )
        )
    return tokenizer


def token_limit(config: Any, tokenizer: PreTrainedTokenizerBase, stated: int | None, *, name: str) -> int | None:
    """Tokens that a conversation may have: `stated`, or what the model and its tokenizer can take.

    `None` where neither of them states a limit.

    Raises:
        SetupError: `stated` is more than the model can take.
    """
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    limits = [limit for limit in (positions, tokenizer.model_max_length) if limit and 0 < limit < _NO_LIMIT]
    most = min(limits, default=None)
    if stated is not None and most is not None and stated > most:
        raise SetupError(
            Fault(
                key="max_length",
                value=stated,
                rule=f"must be at most {most}, which is what {name} can take",
                remedy="lower it, or leave it out",
            )
        )
    return most if stated is None else stated


def encode_conversations(
    conversations: Sequence[Conversation], tokenizer: PreTrainedTokenizerBase, *, limit: int | None
) -> list[list[int]]:
    """Token ids of each conversation.

    Raises:
        DataError: with every conversation that the chat template refuses, or that has more than `limit` tokens.
    """
    rows, faults = [], []
    for row, conversation in enumerate(conversations):
        try:
            rows.append(encode_messages(conversation, tokenizer))
        except RowFault as error:
            faults.append(Fault(key=row_name(row), rule=f"is {sentence_of(error)}"))
            continue
        if not rows[-1]:
            faults.append(Fault(key=row_name(row), rule="has no token once the chat template has rendered it"))
        elif limit is not None and len(rows[-1]) > limit:
            faults.append(_too_long(row, len(rows[-1]), limit))
    if faults:
        raise DataError(faults)
    return rows


def encode_messages(
    messages: Conversation, tokenizer: PreTrainedTokenizerBase, *, add_generation_prompt: bool = False
) -> list[int]:
    """Token ids of the rendered messages, with exactly one BOS where the tokenizer or the template puts one.

    Args:
        add_generation_prompt: end with the header of the answer that is to come.

    Raises:
        RowFault: the chat template refuses the messages.
    """
    text = render([dict(message) for message in messages], tokenizer, add_generation_prompt=add_generation_prompt)
    return with_one_bos(list(tokenizer(text, add_special_tokens=False)["input_ids"]), tokenizer)


def _too_long(row: int, length: int, limit: int) -> Fault:
    return Fault(
        key=row_name(row),
        rule=f"has {length} tokens, and may have {limit}: a score of a part of it would be that of another answer",
        remedy="leave the row out, or use a scorer that takes longer conversations",
    )
