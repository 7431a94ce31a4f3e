"""Columns that a format does not read: what would change the tokens is refused, the rest is only listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alignment.data.formats.refused import LABELS, is_label
from alignment.data.formats.row_format import Row
from alignment.data.messages import Message, RowFault

_TEXT_ALONE = "this trains on text alone"
NEVER_READ = {
    **dict.fromkeys(("image", "images", "video", "videos", "audio", "audios", "objects"), _TEXT_ALONE),
    "documents": "put them into a message",
    "chat_template_kwargs": "set such options in the chat template",
    "functions": "write tools",
    "function_call": "write tool_calls",
    "tool_calls": "put them into the assistant's message",
    **dict.fromkeys(
        ("thinking", "reasoning", "reasoning_content"), "put it into the assistant's message as reasoning_content"
    ),
}
"""Columns that would change the tokens if they were read, with what to do about them."""

SAID = ("prompt", "instruction", "question", "query", "input", "context", "history")
LISTED = ("messages", "conversations", "conversation")
"""Columns with words for the model. One that only repeats what is read is as good as read."""

MEANT = frozenset((*NEVER_READ, *SAID, *LISTED))

_INSTEAD = {"context": "; give it as the input of an instruction with column_map: {context: input}"}

_TRAINED = ("weight", "loss", "train")
"""Keys of a message that say whether it is trained."""

_SPEAKERS = ("role", "from")
_ANSWERING = ("assistant", "gpt", "chatgpt", "model", "function_call", "tool_call")
_WORDS = ("content", "value", "human", "user", "input", "question", "query")


def refuse_unread(row: Row, read: Sequence[str], prompt: Sequence[Message]) -> None:
    """Refuse a row with a column that would change the tokens if it were read.

    Args:
        read: the columns that were read.
        prompt: what they gave as the turns before the answer.

    Raises:
        RowFault: naming the column, and how to leave it out.
    """
    for column, value in row.items():
        if column not in MEANT or column in read or value in (None, "", [], {}):
            continue
        if column in NEVER_READ:
            raise _unread(column, f"; {NEVER_READ[column]}")
        if isinstance(value, str | list) and not _repeats(value, prompt):
            raise _unread(column, _INSTEAD.get(column, ""))


def refuse_unwanted(row: Row) -> None:
    """Refuse, where every answer is trained, one that the row says is not to be.

    Raises:
        RowFault: naming the column or key of a message, and how to leave it out.
    """
    for column in LABELS:
        if is_label(row.get(column)):
            remedy = f"keep the rows whose answer is wanted, and leave it out with column_map: {{{column}: null}}"
            raise RowFault(f"column {column} is not read", f"it says whether the answer is wanted; {remedy}")
    for column in (*LISTED, "completion"):
        value = row.get(column)
        for at, message in enumerate(value if isinstance(value, list) else ()):
            if isinstance(message, Mapping) and any(message.get(key) in _ANSWERING for key in _SPEAKERS):
                _refuse_untrained(message, column, at)


def _refuse_untrained(message: Mapping[str, Any], column: str, at: int) -> None:
    for key in _TRAINED:
        if message.get(key) in (0, False) and key in message:
            remedy = f"or leave it out with column_map: {{'{column}[].{key}': null}}"
            told = f"{column}[{at}].{key} is {message[key]}, and every answer is trained"
            raise RowFault(f"{key} is not read", f"{told}; assistant_turns: last trains the last alone, {remedy}")


def _unread(column: str, remedy: str) -> RowFault:
    leave_out = f"or leave it out with column_map: {{{column}: null}}"
    return RowFault(f"column {column} is not read", f"it would change what is trained{remedy}; {leave_out}")


def _repeats(value: Any, prompt: Sequence[Message]) -> bool:
    """Whether everything that a column has the model read stands in the prompt."""
    said = "\n".join(str(message["content"]) for message in prompt)
    return all(words.strip() in said for words in _words_of(value))


def _words_of(value: Any) -> Iterator[str]:
    """The texts in a value, but for those of the assistant."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _words_of(item)
    elif isinstance(value, Mapping) and not any(value.get(key) in _ANSWERING for key in _SPEAKERS):
        yield from (value[key] for key in _WORDS if isinstance(value.get(key), str))
