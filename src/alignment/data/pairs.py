"""What a preference row means: a prompt, and two answers to it.

Two readers, two degrees of strictness. `read_pair` only takes the row apart and refuses what has no meaning at all, so
that any row the reference could tokenize still can be. `check_pair` adds what a *training* row must satisfy;
`alignment.data.check` applies it to whole data sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from alignment.data.messages import Message, RowFault, kind_of, read_messages
from alignment.data.turns import assistant, check_turns, prompt_of, said, side_of, with_lists, with_system

__all__ = ["Message", "Pair", "RowFault", "check_pair", "read_pair", "take_apart"]


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
    read. A `system` column comes before them. Each list may also be the text of one.

    Raises:
        RowFault: a side is missing or malformed, or an answer alone has no prompt.
    """
    row = with_lists(row)
    pair = take_apart(row)
    return pair._replace(prompt=with_system(row, pair.prompt))


def take_apart(row: Mapping[str, Any]) -> Pair:
    chosen, rejected = side_of(row, "chosen"), side_of(row, "rejected")
    given = row.get("prompt")
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise RowFault(
            "chosen and rejected of different types",
            f"chosen is {kind_of(row['chosen'])}, rejected is {kind_of(row['rejected'])}",
        )
    if isinstance(chosen, str) and isinstance(rejected, str):
        return Pair(prompt_of(given), [assistant(chosen)], [assistant(rejected)])
    assert not isinstance(chosen, str) and not isinstance(rejected, str)
    if isinstance(given, list) and given:
        prompt = read_messages(given, "prompt")
        if not _continues(chosen, prompt):
            return Pair(prompt, chosen, rejected[-1:] if _continues(rejected, prompt) else rejected)
    elif len(chosen) == 1:
        return Pair(prompt_of(given), chosen, rejected)
    return Pair(chosen[:-1], chosen[-1:], rejected[-1:])


def check_pair(row: Mapping[str, Any]) -> Pair:
    """Take a preference row apart and refuse it unless both sides are fit to train on.

    Raises:
        RowFault: with the first reason found.
    """
    row = with_lists(row)
    pair = take_apart(row)
    for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        if len(answer) > 1 and answer[0]["role"] != "assistant":
            raise RowFault("prompt contradicts the conversation", f"{side} does not begin with the turns of prompt")
        if len(answer) != 1:
            raise RowFault("wrong roles", f"{side} has {len(answer)} messages after the prompt; one answer is needed")
        check_turns([*pair.prompt, *answer], side)
    _check_same_prompt(row, pair)
    _check_prompt_column(row, pair)
    if said(pair.chosen[0]) == said(pair.rejected[0]):
        raise RowFault("chosen identical to rejected")
    return pair._replace(prompt=with_system(row, pair.prompt))


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
