"""What a scorer is, what it takes, and what it may give back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Protocol

from alignment.errors import DataError, Fault

Conversation = Sequence[Mapping[str, Any]]
"""Messages `{"role": ..., "content": ...}`; the last one is the answer that is scored."""


class Scorer(Protocol):
    """Gives conversations numbers; higher is better."""

    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        """One finite number for each conversation, in their order.

        Raises:
            DataError: conversations that cannot be scored, named by their index.
            SetupError: the scorer cannot do its work.
        """


def check_conversations(conversations: Sequence[Conversation]) -> None:
    """Raise `DataError` with every conversation that is not a list of messages ending with an assistant's answer."""
    faults = [
        Fault(key=row_name(row), rule=rule)
        for row, conversation in enumerate(conversations)
        if (rule := _what_is_wrong(conversation)) is not None
    ]
    if faults:
        raise DataError(faults)


def finite_scores(scores: Sequence[Any], *, scorer: str) -> list[float]:
    """`scores` as floats.

    Raises:
        DataError: with every one that is no finite number.
    """
    faults = [
        Fault(
            key=row_name(row),
            value=score,
            rule=f"is no finite number, and {scorer} gave it as the score",
            remedy="mend the scorer, or leave this row out",
        )
        for row, score in enumerate(scores)
        if isinstance(score, bool) or not isinstance(score, Real) or not math.isfinite(score)
    ]
    if faults:
        raise DataError(faults)
    return [float(score) for score in scores]


def row_name(row: int) -> str:
    """What messages call the conversation at this index."""
    return f"conversation {row}"


def _what_is_wrong(conversation: object) -> str | None:
    if not isinstance(conversation, list | tuple) or not conversation:
        return "must be a list of messages with at least one message"
    for at, message in enumerate(conversation):
        if not (isinstance(message, Mapping) and isinstance(message.get("role"), str)):
            return f"must have a role in each message, and message {at} has none"
        if not isinstance(message.get("content"), str):
            return f"must have text as the content of each message, and that of message {at} is none"
        if not _is_unicode(message["content"]):
            return f"must have text that is Unicode, and message {at} holds half of a surrogate pair"
    if conversation[-1]["role"] != "assistant":
        return f"must end with the answer of the assistant, and ends with {conversation[-1]['role']}"
    return None if len(conversation) > 1 else "must have a turn before the answer"


def _is_unicode(text: str) -> bool:
    """Whether no tokenizer and no server would choke on it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
