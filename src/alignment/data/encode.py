"""Checked rows to the columns that a trainer reads: rendered, tokenized, and judged, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alignment.data.answer_spans import Span, answer_spans
from alignment.data.chat import UNBOUNDED, PairText, render_pair
from alignment.data.conversations import read_conversation
from alignment.data.messages import Message, RowFault, read_tools, unpack
from alignment.data.pairs import Pair, read_pair
from alignment.data.scored_pairs import as_scored
from alignment.data.token_check import ENDLESS, FULL, FinalCheck, Notes
from alignment.data.token_rules import DPORules, PairRules, RewardRules, Rules, SFTRules, TokenRules
from alignment.data.tokenize import TokenizedPair, encode, finish, no_eos
from alignment.data.turns import MESSAGES, TEXT
from alignment.errors import DataError, Fault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PAIR_IDS = ("prompt_ids", "chosen_ids", "rejected_ids")
CONVERSATION_IDS = ("input_ids", "labels")
PAIR_CUTS = ("cut_prompt", "cut_chosen", "cut_rejected")
CONVERSATION_CUTS = ("cut_conversation",)
FINDINGS = ("reason", "detail", "notes")
"""Beside the ids of each row: why it cannot be trained on, or null; and notes, as texts `reason: detail`."""

PATIENCE = 2
"""Rows of a batch on which a chat template may be stopped for taking too long, or too much memory."""

IGNORED = -100
"""The label of a token that is read and not trained."""


class Encoder:
    """A batch of checked rows in, columns of ids and findings out."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rules: Rules) -> None:
        self._tokenizer = tokenizer
        self._rules = rules
        kept = {"generation_prompt": rules.generation_prompt} if not isinstance(rules, SFTRules) else {}
        self._check = FinalCheck(tokenizer, **kept)

    @property
    def ids(self) -> tuple[str, ...]:
        """The columns that are trained on."""
        return CONVERSATION_IDS if isinstance(self._rules, SFTRules) else PAIR_IDS

    @property
    def cuts(self) -> tuple[str, ...]:
        """The columns that count lost tokens."""
        return CONVERSATION_CUTS if isinstance(self._rules, SFTRules) else PAIR_CUTS

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [_plain(dict(zip(batch, values, strict=True))) for values in zip(*batch.values(), strict=True)]
        encoded = self._conversations(rows) if isinstance(self._rules, SFTRules) else self._pairs(rows, self._rules)
        empty = {**{column: [] for column in self.ids}, **dict.fromkeys(self.cuts, 0), "notes": []}
        finished = [{**empty, "reason": None, "detail": None, **row} for row in encoded]
        return {column: [row[column] for row in finished] for column in (*self.ids, *self.cuts, *FINDINGS)}

    def _pairs(self, rows: Sequence[Mapping[str, Any]], rules: PairRules) -> list[dict[str, Any]]:
        def rendered(row: Mapping[str, Any]) -> tuple[Pair, PairText, Any]:
            pair, tools = read_pair(row), read_tools(row.get("tools"))
            text = render_pair(pair, self._tokenizer, generation_prompt=rules.generation_prompt, tools=tools)
            return pair, text, tools

        def judged(found: tuple[Pair, PairText, Any], ids: TokenizedPair) -> dict[str, Any]:
            pair, text, tools = found
            kept, seen = self._finish(ids, rules)
            notes = self._check.pair(pair, text, seen, tools=tools)
            cuts = {name: getattr(seen, name) for name in PAIR_CUTS}
            return {**kept.as_row(), **cuts, "notes": _texts(notes)}

        return _each(rows, rendered, judged, lambda found: encode([text for _, text, _ in found], self._tokenizer))

    def _finish(self, ids: TokenizedPair, rules: PairRules) -> tuple[TokenizedPair, TokenizedPair]:
        """What is kept, and what the model will see of it."""
        if isinstance(rules, TokenRules):
            kept = finish(ids, self._tokenizer, rules)
            return kept, kept
        if isinstance(rules, RewardRules):
            scored = as_scored(ids, self._tokenizer, rules)
            return scored, scored
        whole = ids._replace(chosen_ids=self._ended(ids.chosen_ids), rejected_ids=self._ended(ids.rejected_ids))
        seen = as_collated(whole, rules)
        return (seen if rules.truncation_mode == "keep_start" else whole), seen

    def _ended(self, ids: list[int]) -> list[int]:
        """An answer that stops: eos behind it, unless the template has ended it."""
        if self._check.ends(ids):
            return ids
        if self._tokenizer.eos_token_id is None:
            raise no_eos()
        return [*ids, self._tokenizer.eos_token_id]

    def _conversations(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        rules = self._rules
        assert isinstance(rules, SFTRules)

        def rendered(row: Mapping[str, Any]) -> tuple[list[Message], str, list[Span], Any]:
            messages, first = read_conversation(row)
            tools = read_tools(row.get("tools"))
            if messages[0]["role"] == TEXT:
                return messages, *self._text(messages[0]["content"]), tools
            text, spans = answer_spans(
                messages,
                self._tokenizer,
                first=row.get("first_trained", first),
                last_only=rules.assistant_turns == "last",
                closing=self._check.closing,
                tools=tools,
            )
            return messages, text, spans, tools

        def judged(found: tuple[list[Message], str, list[Span], Any], ids: Any) -> dict[str, Any]:
            messages, text, spans, tools = found
            tokens, offsets = ids
            plain = messages[0]["role"] == TEXT
            notes = {} if plain else self._check.conversation(messages, text, spans, tokens, tools=tools)
            closed = self._closed(tokens, labels_of(tokens, offsets, spans))
            return {**_cut(*closed, rules), "notes": _texts(notes)}

        return _each(rows, rendered, judged, lambda found: self._with_offsets([text for _, text, *_ in found]))

    def _text(self, said: str) -> tuple[str, list[Span]]:
        """Text without turns behind the token that begins every text, and the place of all of it."""
        bos = self._tokenizer.bos_token or ""
        text = said if said.startswith(bos) else bos + said
        return text, [(len(bos), len(text))]

    def _with_offsets(self, texts: list[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        if not texts:
            return []
        encoded = self._tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
        return list(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True))

    def _closed(self, ids: list[int], labels: list[int]) -> tuple[list[int], list[int]]:
        """The last answer ends in a trained token that stops generation."""
        if self._check.ends([token for token in labels if token != IGNORED]):
            return ids, labels
        if self._check.ends(ids):
            remedy = "put the end of the turn into the {% generation %} block of the chat template"
            raise RowFault(ENDLESS, f"the token that ends the answer is not trained; {remedy}")
        ended = self._ended(ids)
        return ended, [*labels, *ended[len(labels) :]]


def _cut(ids: list[int], labels: list[int], rules: SFTRules) -> dict[str, Any]:
    """The columns of a conversation, as `max_length` leaves them."""
    longest = len(ids) if rules.max_length is None else rules.max_length
    start = max(0, len(ids) - longest) if rules.truncation_mode == "keep_end" else 0
    kept = slice(start, start + longest)
    if all(label == IGNORED for label in labels[kept]):
        raise RowFault(FULL, f"no answer is left of {len(ids)} tokens")
    return {
        "input_ids": ids[kept],
        "labels": (labels if rules.answers_only else ids)[kept],
        "cut_conversation": max(0, len(ids) - longest),
    }


def as_collated(ids: TokenizedPair, rules: DPORules) -> TokenizedPair:
    """What TRL's collator leaves of a pair: of each conversation, the first or the last `max_length` tokens.

    Raises:
        RowFault: nothing of the answers.
    """
    prompt, chosen, rejected = ids[:3]
    if rules.max_length is None:
        return ids
    if rules.truncation_mode == "keep_start":
        room = rules.max_length - len(prompt)
        if room <= 0:
            raise RowFault(FULL, f"it has {len(prompt)} tokens of {rules.max_length}")
        left = (prompt, chosen[:room], rejected[:room])
    else:
        longer = max(len(chosen), len(rejected))
        start = max(0, len(prompt) + longer - rules.max_length)
        left = (prompt[start:], chosen[-rules.max_length :], rejected[-rules.max_length :])
    return TokenizedPair(*left, *(len(whole) - len(rest) for whole, rest in zip(ids[:3], left, strict=True)))


def labels_of(ids: Sequence[int], offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """The ids of the tokens that stand in one of the spans of text, and `IGNORED` for the others.

    A token that begins before a span and ends within belongs to it, as it is the first that the answer decides; one
    that ends behind it does not.
    """
    labels = [IGNORED] * len(ids)
    position = 0
    for start, end in spans:
        while position < len(ids) and offsets[position][1] <= start:
            position += 1
        while position < len(ids) and offsets[position][1] <= end:
            labels[position] = ids[position]
            position += 1
    return labels


def _each(
    rows: Sequence[Mapping[str, Any]],
    rendered: Callable[[Mapping[str, Any]], Any],
    judged: Callable[[Any, Any], dict[str, Any]],
    tokenized: Callable[[list[Any]], Sequence[Any]],
) -> list[dict[str, Any]]:
    """Render each row, tokenize what rendered by one call, judge each; a `RowFault` stays with its row."""
    found = []
    for row in rows:
        found.append(_attempt(rendered, row))
        if isinstance(found[-1], RowFault) and found[-1].reason == UNBOUNDED:
            _give_up_on(found)
    ids = iter(tokenized([item for item in found if not isinstance(item, RowFault)]))
    out = []
    for item in found:
        result = item if isinstance(item, RowFault) else _attempt(judged, item, next(ids))
        out.append({"reason": result.reason, "detail": result.detail} if isinstance(result, RowFault) else result)
    return out


def _attempt(step: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return step(*arguments)
    except RowFault as fault:
        return fault


def _give_up_on(found: Sequence[Any]) -> None:
    """A template that has to be stopped again and again would take hours to be refused on every row."""
    stopped = [item for item in found if isinstance(item, RowFault) and item.reason == UNBOUNDED]
    if len(stopped) > PATIENCE:
        rule = f"had to be stopped on {len(stopped)} rows; of the last: {stopped[-1].detail}"
        raise DataError(Fault(key="chat_template", rule=rule, remedy="mend its loops"))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: unpack(value) if name in MESSAGES and isinstance(value, list) else value for name, value in row.items()
    }


def _texts(notes: Notes) -> list[str]:
    return [f"{reason}: {detail}" for reason, detail in notes.items()]
