"""What a row means: a preference row becomes a `Pair`, a conversation row a list of messages.

Two readers, two degrees of strictness. `read_pair` and `read_conversation` only take the row apart and refuse
what has no meaning at all, so that any row the reference could tokenise still can be. `check_pair` and
`check_conversation` add what a *training* row must satisfy; `alignment.data.check` applies them to whole data
sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Message = dict[str, str]
"""`{"role": ..., "content": ...}`; further keys of a source are not carried along."""

ROLES = ("system", "user", "assistant")


class RowFault(Exception):
    """Why one row cannot be used."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        """Short and countable: the same fault in another row has the same reason."""
        self.detail = detail
        """What was found in this row."""
        super().__init__(f"{reason}: {detail}" if detail else reason)


class Pair(NamedTuple):
    """One preference: two answers to the same conversation."""

    prompt: list[Message]
    """Every turn before the answer."""
    chosen: list[Message]
    """The preferred answer: one assistant message."""
    rejected: list[Message]


def read_pair(row: Mapping[str, Any]) -> Pair:
    """Take a preference row apart.

    `chosen` and `rejected` are whole conversations, or answers alone (one message, or a plain string) when
    the row has a `prompt` (message list, or the user's text). In whole conversations the turns before the
    last of `chosen` are the prompt of both sides, as in the reference; a `prompt` column beside them is not
    read.

    Raises:
        RowFault: a side is missing or malformed, or an answer alone has no prompt.
    """
    chosen, rejected = _side(row, "chosen"), _side(row, "rejected")
    given = row.get("prompt")
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise RowFault(
            "chosen and rejected of different types",
            f"chosen is {_kind(row['chosen'])}, rejected is {_kind(row['rejected'])}",
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
    pair = read_pair(row)
    for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        if len(answer) > 1 and answer[0]["role"] != "assistant":
            raise RowFault("prompt contradicts the conversation", f"{side} does not begin with the turns of prompt")
        if len(answer) != 1:
            raise RowFault("wrong roles", f"{side} has {len(answer)} messages after the prompt; one answer is needed")
        check_turns([*pair.prompt, *answer], side)
    _check_same_prompt(row, pair)
    _check_prompt_column(row, pair)
    if pair.chosen[0]["content"].strip() == pair.rejected[0]["content"].strip():
        raise RowFault("chosen identical to rejected")
    return pair


def read_conversation(row: Mapping[str, Any]) -> list[Message]:
    """The messages of a row for supervised fine-tuning.

    In order of preference: `messages`; `prompt` with `completion` (each a message list or a string); the
    chosen side of a preference row.

    Raises:
        RowFault: none of them is there, or the one that is there is malformed.
    """
    if row.get("messages") is not None:
        return read_messages(row["messages"], "messages")
    if row.get("completion") is not None:
        completion = _side(row, "completion")
        answer = [_assistant(completion)] if isinstance(completion, str) else completion
        return [*_prompt(row.get("prompt")), *answer]
    if row.get("chosen") is not None:
        pair = read_pair({**row, "rejected": row["chosen"]})
        return [*pair.prompt, *pair.chosen]
    for column in ("messages", "completion", "chosen"):
        if column in row:
            raise RowFault("null value", f"{column} is null")
    raise RowFault("missing column", "needs messages, or prompt and completion, or chosen")


def check_conversation(row: Mapping[str, Any]) -> list[Message]:
    """`read_conversation`, refusing conversations that are not fit to train on.

    Raises:
        RowFault: with the first reason found.
    """
    messages = read_conversation(row)
    name = next(column for column in ("messages", "completion", "chosen") if row.get(column) is not None)
    check_turns(messages, name)
    return messages


def read_messages(value: object, name: str) -> list[Message]:
    """A list of messages, each reduced to role and content.

    Raises:
        RowFault: `value` is not a list of messages with string role and content.
    """
    if value is None:
        raise RowFault("null value", f"{name} is null")
    if not isinstance(value, list | tuple):
        raise RowFault("not a list of messages", f"{name} is {_kind(value)}")
    if not value:
        raise RowFault("empty list of messages", f"{name} has no message")
    return [_message(message, f"{name}[{position}]") for position, message in enumerate(value)]


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
        expected = ("user", "assistant")[position % 2]
        if message["role"] != expected:
            raise RowFault("wrong roles", f"turn {position} of {name} is {message['role']}, not {expected}")
    if not messages[-1]["content"].strip():
        raise RowFault("empty completion", f"the last message of {name} is empty")


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


def _continues(conversation: list[Message], prompt: list[Message]) -> bool:
    return len(conversation) > len(prompt) and conversation[: len(prompt)] == prompt


def _side(row: Mapping[str, Any], name: str) -> str | list[Message]:
    if name not in row:
        raise RowFault("missing column", name)
    value = row[name]
    return _text(value, name) if isinstance(value, str) else read_messages(value, name)


def _prompt(value: object) -> list[Message]:
    if isinstance(value, str):
        if not value.strip():
            raise RowFault("missing prompt", "prompt is empty")
        return [{"role": "user", "content": _text(value, "prompt")}]
    if value is None or value == []:
        raise RowFault("missing prompt", "the answers have no prompt")
    return read_messages(value, "prompt")


def _message(value: object, name: str) -> Message:
    if not isinstance(value, Mapping):
        raise RowFault("not a list of messages", f"{name} is {_kind(value)}, not a message")
    for field in ("role", "content"):
        if value.get(field) is None:
            raise RowFault("null value" if field in value else f"message without {field}", f"{name}.{field}")
        if not isinstance(value[field], str):
            raise RowFault(f"non-string {field}", f"{name}.{field} is {_kind(value[field])}")
    return {"role": value["role"], "content": _text(value["content"], f"{name}.content")}


def _text(value: str, name: str) -> str:
    """JSON can spell half of a surrogate pair, which is no text: no tokenizer takes it."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowFault("not valid Unicode", f"{name} holds a lone surrogate") from error
    return value


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _kind(value: object) -> str:
    names = {
        str: "a string",
        list: "a list",
        tuple: "a list",
        dict: "an object",
        bool: "a boolean",
        type(None): "null",
    }
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
