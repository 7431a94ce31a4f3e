"""The one check over the tokens that are trained on, the same for every method.

Rows were judged as text before. What they become is judged here: they render, what they say survives, they begin as
inference will begin, they end in a token that stops generation unless truncation took it, and the two sides of a pair
differ in what is left of them. What breaks one of these is a `RowFault`; what is only worth knowing is a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from alignment.data.chat import GenerationPrompt, PairText, Tools, render_pair
from alignment.data.messages import Message, RowFault
from alignment.data.pairs import Pair
from alignment.data.template_markers import control_ids, stop_ids, template_marks
from alignment.data.tokenize import TokenizedPair

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOST = "answer lost in the chat template"
NOT_RENDERED = "not rendered by the chat template"
TWICE = "text rendered already"
SAME = "chosen identical to rejected"
BEGINNING = "begins unlike inference"
ENDLESS = "no end of the answer"
FULL = "prompt fills max_length"
"""Reasons of faults. `FULL` is no fault of a row but the rule of truncation: such rows are left out and counted."""

CHANGED = "text changed by the chat template"
CONTROL = "control tokens in the text"
REPEATED = "answer repeats the prompt"
"""Reasons of notes."""

_WORD = re.compile(r"\w+")

Notes = dict[str, str]
"""Reason -> what was found."""


class FinalCheck:
    """What must hold, for one tokenizer with its chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, generation_prompt: GenerationPrompt = "prompt") -> None:
        self._tokenizer = tokenizer
        self._generation_prompt = generation_prompt
        self._marks = template_marks(tokenizer)
        self._rendered_question = self._marks.around_questions(tokenizer.bos_token)
        self._rendered_answer = self._marks.around_answers()
        self._blank: dict[int, bool] = {}
        self.stops = stop_ids(tokenizer, self._marks)
        self.closing = self._marks.closing
        control = sorted(tokenizer.convert_ids_to_tokens(sorted(control_ids(tokenizer))), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, filter(None, control))) or r"(?!)")

    def pair(self, pair: Pair, text: PairText, seen: TokenizedPair, *, tools: Tools | None) -> Notes:
        """Judge a pair by the tokens that the model will see of it.

        Raises:
            RowFault: with the first reason found.
        """
        sides = {"chosen": (pair.chosen, text.chosen), "rejected": (pair.rejected, text.rejected)}
        notes = self._said(pair.prompt, text.prompt, tools)
        for answer, completion in sides.values():
            _refuse_nameless([*pair.prompt, *answer], text.prompt + completion)
        for name, (answer, completion) in sides.items():
            if not _within(answer[0]["content"], completion):
                empty = pair._replace(**{name: [{**answer[0], "content": ""}]})
                self._refuse_lost(getattr(text, name), empty, name, tools)
                notes[CHANGED] = f"{name} is not rendered word for word"
            _refuse_unrendered(answer[0], completion, name)
            if self._generation_prompt == "completion" and not completion.startswith(self._marks.header or ""):
                raise RowFault(BEGINNING, f"{name} does not begin with the generation prompt {self._marks.header!r}")
        self._refuse_beginning(seen.prompt_ids if not seen.cut_prompt else None)
        for name, ids, cut in (
            ("chosen", seen.chosen_ids, seen.cut_chosen),
            ("rejected", seen.rejected_ids, seen.cut_rejected),
        ):
            if not cut and not self.ends(ids):
                raise RowFault(ENDLESS, f"{name} ends in none of the tokens that stop generation")
        if seen.chosen_ids == seen.rejected_ids:
            cut = seen.cut_chosen or seen.cut_rejected
            raise RowFault(SAME, "after truncation" if cut else "once the chat template has rendered them")
        if all(_repeats(pair.prompt, answer) for answer, _ in sides.values()):
            notes[REPEATED] = "both answers begin with the whole prompt"
        return {**notes, **self._control_notes(message for answer, _ in sides.values() for message in answer)}

    def conversation(
        self,
        messages: Sequence[Message],
        text: str,
        trained: Sequence[tuple[int, int]],
        ids: Sequence[int],
        *,
        tools: Tools | None,
    ) -> Notes:
        """Judge a conversation before it is cut. `trained` are the places in `text` of the last answers, in order.

        Raises:
            RowFault: with the first reason found.
        """
        answers = [message for message in messages if message["role"] == "assistant"]
        notes = self._said(messages, text, tools)
        _refuse_nameless(messages, text)
        for message, (start, end) in zip(answers[len(answers) - len(trained) :], trained, strict=True):
            if not _within(message["content"], text[start:end]):
                left = text[start:end].strip()
                if left == self.closing.strip() or not any(word in left for word in _WORD.findall(message["content"])):
                    raise RowFault(LOST, "nothing of an answer is in the text that is trained")
                notes[CHANGED] = "an answer is not rendered word for word"
            _refuse_unrendered(message, text[start:end], "an answer")
        self._refuse_beginning(ids)
        if _repeats(messages[:-1], messages[-1:]):
            notes[REPEATED] = "the answer begins with the whole prompt"
        return {**notes, **self._control_notes(answers)}

    def ends(self, ids: Sequence[int]) -> bool:
        """Whether the last token that is no white space stops generation."""
        last = next((token for token in reversed(ids) if not self._is_blank(token)), None)
        return last in self.stops

    def _said(self, messages: Sequence[Message], text: str, tools: Tools | None) -> Notes:
        """What of the turns before the answer, and of the tools, is not in the text."""
        notes: Notes = {}
        for message in messages:
            if message["role"] == "user":
                self._refuse_twice(message["content"])
            if message["role"] != "assistant" and not _within(message["content"], text):
                notes[CHANGED] = f"a {message['role']} message is not rendered word for word"
        calls = [call for message in messages for call in message.get("tool_calls", ())]
        for column, named in (("tool_calls", calls), ("tools", tools or ())):
            _require_names(named, text, messages, column)
        return {**notes, **self._control_notes(messages)}

    def _refuse_lost(self, completion: str, empty: Pair, name: str, tools: Tools | None) -> None:
        """The rare case is rendered once more, without the answer: if that makes no difference, it was lost."""
        try:
            without = render_pair(empty, self._tokenizer, generation_prompt=self._generation_prompt, tools=tools)
        except RowFault:
            return
        if getattr(without, name) == completion:
            raise RowFault(LOST, f"{name} is rendered as if it said nothing")

    def _refuse_twice(self, question: str) -> None:
        begins, ends = self._rendered_question
        said = question.strip()
        found = next((mark for mark in begins if said.startswith(mark)), None)
        found = found or next((mark for mark in ends if said.endswith(mark)), None)
        if found is not None:
            remedy = "give the words alone, the template adds the rest"
            raise RowFault(TWICE, f"a user message holds {found!r} of the chat template itself; {remedy}")

    def _refuse_beginning(self, ids: Sequence[int] | None) -> None:
        bos = self._tokenizer.bos_token_id
        if ids is not None and bos is not None and list(ids[:1]) != [bos]:
            raise RowFault(BEGINNING, f"it begins without {self._tokenizer.bos_token}")

    def _control_notes(self, messages: Iterable[Message]) -> Notes:
        begins, ends = self._rendered_answer
        for message in messages:
            said = message["content"].strip()
            marks = [mark for mark in begins if said.startswith(mark)] + [mark for mark in ends if said.endswith(mark)]
            found = self._control.search(said)
            if found or (marks and message["role"] == "assistant"):
                return {CONTROL: f"a {message['role']} message holds {found[0] if found else marks[0]!r}"}
        return {}

    def _is_blank(self, token: int) -> bool:
        if token not in self._blank:
            text: Any = self._tokenizer.decode([token])
            self._blank[token] = token not in self.stops and not text.strip()
        return self._blank[token]


def _refuse_nameless(messages: Sequence[Message], text: str) -> None:
    """Names of speakers that the template does not write; that of a tool stands in the call already."""
    speakers = [message["name"] for message in messages if message["role"] != "tool" and "name" in message]
    if not speakers:
        return
    for message in messages:
        text = text.replace(message["content"].strip(), "", 1)
    missing = next((name for name in speakers if str(name) not in text), None)
    if missing is not None:
        remedy = "use a template that writes it, or leave it out with column_map: {'messages[].name': null}"
        raise RowFault(f"name {NOT_RENDERED}", f"{missing!r}; {remedy}, by the column it is in")


def _refuse_unrendered(answer: Message, completion: str, name: str) -> None:
    _require_names(answer.get("tool_calls", ()), completion, [answer], "tool_calls", f" of {name}")
    for key in ("reasoning_content", "thinking", "reasoning"):
        if isinstance(answer.get(key), str) and not _within(answer[key], completion):
            raise RowFault(f"{key} {NOT_RENDERED}", f"that of {name}; use a template that writes it, or remove it")


def _require_names(calls: Sequence[Any], text: str, messages: Sequence[Message], column: str, where: str = "") -> None:
    """The names of tools or calls stand in the text, beside what the messages say."""
    if not calls:
        return
    for message in messages:
        text = text.replace(message["content"].strip(), "", 1)
    missing = next((name for name in map(_name_of, calls) if name not in text), None)
    if missing is not None:
        remedy = "use a template that writes them, or remove them"
        raise RowFault(f"{column} {NOT_RENDERED}", f"{column}{where}: {missing!r}; {remedy}")


def _name_of(call: Any) -> str:
    """The name of a function, of a tool or of a call of one."""
    inner = call.get("function", call)
    return str(inner.get("name", "")) if isinstance(inner, dict) else str(inner)


def _repeats(prompt: Sequence[Message], answer: Sequence[Message]) -> bool:
    asked = next((turn["content"].strip() for turn in reversed(prompt) if turn["role"] == "user"), "")
    return bool(asked) and answer[-1]["content"].strip().startswith(asked)


def _within(words: str, text: str) -> bool:
    """Whether `words` stand in `text`, whatever a template does to white space."""
    return words.strip() in text or "".join(words.split()) in "".join(text.split())
