"""What supervised fine-tuning reads of a row: a list of messages, and which of them may be trained.

As for pairs there are two degrees of strictness: `read_conversation` takes any row apart that has a meaning,
`check_conversation` adds what a row must satisfy to be trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from alignment.data.messages import Message, RowFault, read_messages, read_text
from alignment.data.pairs import take_apart
from alignment.data.turns import TEXT, assistant, check_turns, prompt_of, said, side_of, with_lists, with_system


class Conversation(NamedTuple):
    """What supervised fine-tuning reads of a row."""

    messages: list[Message]
    first_trained: int
    """Answers from this message on may be trained: all of `messages`, of a prompt's completion those behind the
    prompt."""


def read_conversation(row: Mapping[str, Any]) -> Conversation:
    """The messages of a row for supervised fine-tuning, those of a `system` column before them.

    In order of preference: `text`, which has no turns; `messages`; `prompt` with `completion` (each a message list or
    a string); the chosen side of a preference row.

    Raises:
        RowFault: none of them is there, or the one that is there is malformed.
    """
    row = with_lists(row)
    prompt, answers = _conversation(row)
    before = with_system(row, [*prompt, *answers])
    return Conversation(before, len(before) - len(answers) if prompt else 0)


def _conversation(row: Mapping[str, Any]) -> tuple[list[Message], list[Message]]:
    """What is only read, and what is answered; `messages` do not tell them apart."""
    if row.get("text") is not None:
        return [], [{"role": TEXT, "content": read_text(row["text"], "text")}]
    if row.get("messages") is not None:
        return [], read_messages(row["messages"], "messages")
    if row.get("completion") is not None:
        completion = side_of(row, "completion")
        answer = [assistant(completion)] if isinstance(completion, str) else completion
        return prompt_of(row.get("prompt")), answer
    if row.get("chosen") is not None:
        pair = take_apart({**row, "rejected": row["chosen"]})
        return pair.prompt, pair.chosen
    for column in ("messages", "completion", "chosen"):
        if column in row:
            raise RowFault("null value", f"{column} is null")
    raise RowFault("missing column", "needs messages, or prompt and completion, or chosen")


def check_conversation(row: Mapping[str, Any]) -> Conversation:
    """`read_conversation`, refusing conversations that are not fit to train on.

    Raises:
        RowFault: with the first reason found.
    """
    conversation = read_conversation(row)
    if row.get("text") is not None:
        return _check_text(conversation)
    name = next(column for column in ("messages", "completion", "chosen") if row.get(column) is not None)
    check_turns(conversation.messages, name)
    for position, message in enumerate(conversation.messages[conversation.first_trained :], conversation.first_trained):
        if message["role"] == "assistant" and not said(message):
            raise RowFault("empty completion", f"turn {position} of {name} is empty")
    return conversation


def _check_text(conversation: Conversation) -> Conversation:
    if len(conversation.messages) > 1:
        raise RowFault("system message beside text", "text stands alone, as no template writes around it")
    if not conversation.messages[0]["content"].strip():
        raise RowFault("empty text", "text is empty")
    return conversation
