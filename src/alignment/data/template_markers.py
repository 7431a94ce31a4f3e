"""What a chat template writes around what is said, found by rendering an exchange whose words are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from alignment.data.chat import render
from alignment.data.messages import RowFault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from alignment.data.messages import Message

_TOLD, _ASKED, _ANSWERED = "yxcvbn", "qwertz", "asdfgh"
"""Words that no template writes by itself."""


class Marks(NamedTuple):
    """The pieces of `opening + question + between + answer + closing`; empty where the exchange does not render so."""

    opening: str = ""
    between: str = ""
    closing: str = ""
    header: str | None = None
    """What `add_generation_prompt` writes behind a question; `None` if it is not simply added."""

    def around_questions(self, bos: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """How a question begins, and how it ends, whose text is a rendered conversation already."""
        opening = self.opening.strip()
        return (
            _distinct(opening, opening.removeprefix(bos or ""), *opening.splitlines()[-1:]),
            _distinct(self.between, *self.between.strip().splitlines()[-1:], self.header or ""),
        )

    def around_answers(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """How an answer begins, and how it ends, whose text is rendered already."""
        return (
            _distinct(*self.between.strip().splitlines()[-1:], self.header or ""),
            _distinct(self.closing, *self.closing.strip().splitlines()[:1]),
        )


def template_marks(tokenizer: PreTrainedTokenizerBase) -> Marks:
    """The marks of the tokenizer's chat template; none that it refuses to show."""
    try:
        question = askable(tokenizer)
        text = render([*question, {"role": "assistant", "content": _ANSWERED}], tokenizer)
        asked, opened = (render(question, tokenizer, add_generation_prompt=added) for added in (False, True))
    except RowFault:
        return Marks()
    header = opened[len(asked) :] if opened.startswith(asked) else None
    start, end = text.find(_ASKED), text.rfind(_ANSWERED)
    if not 0 <= start < end:
        return Marks(header=header)
    return Marks(text[:start], text[start + len(_ASKED) : end], text[end + len(_ANSWERED) :], header)


def askable(tokenizer: PreTrainedTokenizerBase) -> list[Message]:
    """A question that the chat template renders: alone, or behind the system message that it insists on.

    Raises:
        RowFault: it renders neither.
    """
    question: list[Message] = [{"role": "user", "content": _ASKED}]
    try:
        render(question, tokenizer)
    except RowFault as alone:
        question = [{"role": "system", "content": _TOLD}, *question]
        try:
            render(question, tokenizer)
        except RowFault:
            raise alone from None
    return question


def stop_ids(tokenizer: PreTrainedTokenizerBase, marks: Marks) -> frozenset[int]:
    """The tokens that end an answer here: eos, and the control token that the template writes behind one."""
    closing = tokenizer(marks.closing, add_special_tokens=False)["input_ids"] if marks.closing else []
    control = control_ids(tokenizer)
    first = next((token for token in closing if token in control), None)
    return frozenset(token for token in (tokenizer.eos_token_id, first) if token is not None)


def control_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids of control tokens, those added beside the named bos, eos and pad included."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def begin_with_bos(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's chat template, writing the beginning-of-sequence token first if it does not do so itself.

    Training puts that token in front of every row, as the reference does. If the saved template
    writes it too, prompts at inference begin in the same way.
    """
    template = tokenizer.chat_template
    bos = tokenizer.bos_token
    if bos is None or not isinstance(template, str):
        return template
    try:
        text = render(askable(tokenizer), tokenizer, add_generation_prompt=True)
    except RowFault:
        return template
    return template if text.startswith(bos) else "{{ bos_token }}" + template


def _distinct(*marks: str) -> tuple[str, ...]:
    """Marks that stand out from any text: not empty, and not one word or one sign alone."""
    stripped: Sequence[str] = [mark.strip() for mark in marks]
    return tuple(dict.fromkeys(mark for mark in stripped if len(mark) > 2 and not mark.isalnum()))
