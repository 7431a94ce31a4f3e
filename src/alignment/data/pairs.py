"""What a row means: a preference row becomes a `Pair`, a conversation row a list of messages.

Two readers, two degrees of strictness. `read_pair` and `read_conversation` only take the row apart and refuse
what has no meaning at all, so that any row the reference could tokenize still can be. `check_pair` and
`check_conversation` add what a *training* row must satisfy; `alignment.data.check` applies them to whole data
sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from alignment.data.messages import ROLES, Message, RowFault, from_text, kind_of, read_messages, read_text

__all__ = ["Message", "Pair", "RowFault", "check_conversation", "check_pair", "read_conversation", "read_pair"]

NOT_READ = {
    **dict.fromkeys(("image", "images", "video", "videos", "audio"), "this trains on text alone"),
    "documents": "put them into a message",
    "chat_template_kwargs": "set such options in the chat template",
    "functions": "write tools",
}
"""Columns that would change the tokens if they were read: refused by name, with the remedy."""

SYSTEM = ("system", "system_prompt")
"""Columns that hold a system message; it comes before every other turn."""


class Pair(NamedTuple):
    """One preference: two answers to the same conversation."""

    prompt: list[Message]
    """Every turn before the answer."""
    chosen: list[Message]
    """The preferred answer: one assistant message."""
    rejected: list[Message]


class Conversation(NamedTuple):
    """What supervised fine-tuning reads of a row."""

    messages: list[Message]
    first_trained: int
    """Answers from this message on may be trained: all of `messages`, of a prompt's completion those behind the
    prompt."""


def read_pair(row: Mapping[str, Any]) -> Pair:
    """Take a preference row apart.

    `chosen` and `rejected` are whole conversations, or answers alone (one message, or a plain string) when
    the row has a `prompt` (message list, or the user's text). In whole conversations the turns before the
    last of `chosen` are the prompt of both sides, as in the reference; a `prompt` column beside them is not
    read. A `system` column comes before them. Each list may also be the text of one.

    Raises:
        RowFault: a side is missing or malformed, or an answer alone has no prompt.
    """
    row = _lists(row)
    pair = _take_apart(row)
    return pair._replace(prompt=_with_system(row, pair.prompt))


def _take_apart(row: Mapping[str, Any]) -> Pair:
    chosen, rejected = _side(row, "chosen"), _side(row, "rejected")
    given = row.get("prompt")
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise RowFault(
            "chosen and rejected of different types",
            f"chosen is {kind_of(row['chosen'])}, rejected is {kind_of(row['rejected'])}",
        )
    if isinstance(chosen, str) and isinstance(rejected, str):
        return Pair(_prompt(given), [_assistant(chosen)], [_assistant(rejected)])
    assert not isinstance(chosen, str) and not isinstance(rejected, str)
    if isinstance(given, list) and given:
        prompt = read_messages(given, "prompt")
        if not _continues(chosen, prompt):
            return Pair(prompt, chosen, rejected[-1:] if _continues(rejected, prompt) else rejected)
    elif len(chosen) == 1:
        return Pair(_prompt(given), chosen, rejected)
    return Pair(chosen[:-1], chosen[-1:], rejected[-1:])


def check_pair(row: Mapping[str, Any]) -> Pair:
    """Take a preference row apart and refuse it unless both sides are fit to train on.

    Raises:
        RowFault: with the first reason found.
    """
    _refuse_not_read(row)
    row = _lists(row)
    pair = _take_apart(row)
    for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        if len(answer) > 1 and answer[0]["role"] != "assistant":
            raise RowFault("prompt contradicts the conversation", f"{side} does not begin with the turns of prompt")
        if len(answer) != 1:
            raise RowFault("wrong roles", f"{side} has {len(answer)} messages after the prompt; one answer is needed")
        check_turns([*pair.prompt, *answer], side)
    _check_same_prompt(row, pair)
    _check_prompt_column(row, pair)
    if _said(pair.chosen[0]) == _said(pair.rejected[0]):
        raise RowFault("chosen identical to rejected")
    return pair._replace(prompt=_with_system(row, pair.prompt))


def read_conversation(row: Mapping[str, Any]) -> Conversation:
    """The messages of a row for supervised fine-tuning, those of a `system` column before them.

    In order of preference: `messages`; `prompt` with `completion` (each a message list or a string); the
    chosen side of a preference row.

    Raises:
        RowFault: none of them is there, or the one that is there is malformed.
    """
    row = _lists(row)
    prompt, answers = _conversation(row)
    before = _with_system(row, [*prompt, *answers])
    return Conversation(before, len(before) - len(answers) if prompt else 0)


def _conversation(row: Mapping[str, Any]) -> tuple[list[Message], list[Message]]:
    """What is only read, and what is answered; `messages` do not tell them apart."""
    if row.get("messages") is not None:
        return [], read_messages(row["messages"], "messages")
    if row.get("completion") is not None:
        completion = _side(row, "completion")
        answer = [_assistant(completion)] if isinstance(completion, str) else completion
        return _prompt(row.get("prompt")), answer
    if row.get("chosen") is not None:
        pair = _take_apart({**row, "rejected": row["chosen"]})
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
    _refuse_not_read(row)
    conversation = read_conversation(row)
    name = next(column for column in ("messages", "completion", "chosen") if row.get(column) is not None)
    check_turns(conversation.messages, name)
    for position, message in enumerate(conversation.messages[conversation.first_trained :], conversation.first_trained):
        if message["role"] == "assistant" and not _said(message):
            raise RowFault("empty completion", f"turn {position} of {name} is empty")
    return conversation


def check_turns(messages: Sequence[Message], name: str) -> None:
    """Refuse a conversation unless it runs [system,] user, assistant, ..., assistant and its last turn says
    something.

    Raises:
        RowFault: wrong roles, or an empty completion.
    """
    for position, message in enumerate(messages):
        if message["role"] not in ROLES:
            raise RowFault("wrong roles", f"{name} has the unknown role {message['role']!r} at turn {position}")
        if message["role"] == "system" and position > 0:
            raise RowFault("wrong roles", f"{name} has a system message at turn {position}, not first")
    if messages[-1]["role"] != "assistant":
        raise RowFault("wrong roles", f"the last message of {name} is {messages[-1]['role']}, not assistant")
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    if len(turns) < 2:
        raise RowFault("missing prompt", f"{name} has no user turn before the answer")
    for position, message in enumerate(turns):
        expected = _expected(turns[position - 1] if position else None)
        if message["role"] not in expected:
            raise RowFault("wrong roles", f"turn {position} of {name} is {message['role']}, not {expected[0]}")
    if not _said(messages[-1]):
        raise RowFault("empty completion", f"the last message of {name} is empty")


def _expected(before: Message | None) -> tuple[str, ...]:
    """The roles that may follow a message."""
    if before is None:
        return ("user",)
    if before["role"] == "user":
        return ("assistant",)
    if before["role"] == "tool":
        return ("assistant", "tool")
    return ("tool", "user") if "tool_calls" in before else ("user",)


def _said(message: Message) -> str:
    """What an answer says, for telling whether it says anything and whether two say the same."""
    more = {key: value for key, value in message.items() if key not in ("role", "content")}
    return message["content"].strip() + (str(more) if more else "")


def _check_same_prompt(row: Mapping[str, Any], pair: Pair) -> None:
    rejected = row["rejected"]
    if isinstance(rejected, str) or len(rejected) == 1:
        return
    if read_messages(rejected, "rejected")[:-1] != pair.prompt:
        raise RowFault("chosen and rejected have different prompts", "their turns before the answer differ")


def _check_prompt_column(row: Mapping[str, Any], pair: Pair) -> None:
    """A prompt string beside whole conversations repeats one user turn, or is a transcript that holds them
    all."""
    given = row.get("prompt")
    if not isinstance(given, str) or isinstance(row["chosen"], str) or len(row["chosen"]) == 1:
        return
    asked = [turn["content"].strip() for turn in pair.prompt if turn["role"] == "user"]
    if given.strip() in asked or all(text in given for text in asked):
        return
    raise RowFault("prompt contradicts the conversation", "prompt is none of the user's turns in chosen")


def _refuse_not_read(row: Mapping[str, Any]) -> None:
    for column, remedy in NOT_READ.items():
        if row.get(column) not in (None, "", [], {}):
            raise RowFault(f"column {column} is not read", f"it would change what is trained; {remedy}")


def _lists(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row, with lists of messages where it holds the text of such lists."""
    columns = ("messages", "prompt", "completion", "chosen", "rejected")
    return {**row, **{column: from_text(row[column], column) for column in columns if column in row}}


def _with_system(row: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    """The messages behind the system message of a column of its own."""
    for column in SYSTEM:
        text = row.get(column)
        if text is None or text == "":
            continue
        if not isinstance(text, str):
            raise RowFault("system message is no text", f"{column} is {kind_of(text)}")
        if messages[0]["role"] != "system":
            messages = [{"role": "system", "content": read_text(text, column)}, *messages]
        elif messages[0]["content"].strip() != text.strip():
            raise RowFault("two system messages", f"{column} differs from the conversation's own")
    return messages


def _continues(conversation: list[Message], prompt: list[Message]) -> bool:
    return len(conversation) > len(prompt) and conversation[: len(prompt)] == prompt


def _side(row: Mapping[str, Any], name: str) -> str | list[Message]:
    if name not in row:
        raise RowFault("missing column", name)
    value = row[name]
    return read_text(value, name) if isinstance(value, str) else read_messages(value, name)


def _prompt(value: object) -> list[Message]:
    if isinstance(value, str):
        if not value.strip():
            raise RowFault("missing prompt", "prompt is empty")
        return [{"role": "user", "content": read_text(value, "prompt")}]
    if value is None or value == []:
        raise RowFault("missing prompt", "the answers have no prompt")
    return read_messages(value, "prompt")


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}
