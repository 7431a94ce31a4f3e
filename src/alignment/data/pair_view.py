"""One row as the model sees it, token by token: what is read, what is scored, and what truncation takes away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.cache import place_in
from alignment.data.encode import IGNORED, Encoder, as_collated
from alignment.data.template_markers import control_ids
from alignment.data.token_rules import DPORules, Rules, SFTRules, TokenRules
from alignment.data.tokenize import TokenizedPair, common_length

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

LOOKED_AT = 100
"""Rows among which one that truncation cuts is preferred."""
_UNLIMITED = 2**30


class Piece(NamedTuple):
    """Tokens in a row of which the same holds."""

    text: str
    tokens: int
    scored: bool
    """Whether the objective counts them."""
    cut: bool
    """Whether truncation takes them away."""
    special: bool
    """Whether they are control tokens."""


def pair_view(rows: Dataset, tokenizer: PreTrainedTokenizerBase, rules: Rules) -> dict[str, Any] | None:
    """The first row that can be trained on; of the first `LOOKED_AT`, one that truncation cuts if there is any.

    Returns `row`, as messages call it, and `parts`: `prompt`, `chosen` and `rejected`, or `conversation`, each with the
    `tokens` that are kept, those that are `cut`, and its pieces. `None` when none of the rows can be trained on.
    """
    beginning = rows.select(range(min(LOOKED_AT, len(rows))))
    encoded = Encoder(tokenizer, rules)(beginning[:])
    good = [row for row, reason in enumerate(encoded["reason"]) if reason is None]
    if not good:
        return None
    cuts = [encoded[name] for name in encoded if name.startswith("cut_")]
    row = next((row for row in good if any(cut[row] for cut in cuts)), good[0])
    whole = Encoder(tokenizer, _unlimited(rules))(beginning[row : row + 1])
    kept = {name: values[row] for name, values in encoded.items()}
    parts = _parts({name: values[0] for name, values in whole.items()}, kept, rules)
    special = control_ids(tokenizer)
    return {
        "row": place_in(rows, row),
        "parts": [
            {
                "name": name,
                "tokens": sum(token.kept for token in tokens),
                "cut": sum(not token.kept for token in tokens),
                "pieces": [piece._asdict() for piece in _pieces(tokens, tokenizer, special)],
            }
            for name, tokens in parts.items()
        ],
    }


class _Token(NamedTuple):
    id: int
    scored: bool
    kept: bool


def _unlimited(rules: Rules) -> Rules:
    """The same rules without truncation."""
    if isinstance(rules, TokenRules):
        return replace(rules, max_length=_UNLIMITED)
    return replace(rules, max_length=None)


def _parts(whole: Mapping[str, Any], kept: Mapping[str, Any], rules: Rules) -> dict[str, list[_Token]]:
    if isinstance(rules, SFTRules):
        left = left_of(whole["input_ids"], kept["input_ids"])
        labels = whole["labels"]
        return {
            "conversation": [_Token(*token) for token in _zip(whole["input_ids"], [x != IGNORED for x in labels], left)]
        }
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    seen = [kept[name] for name in names]
    if isinstance(rules, DPORules):
        seen = list(as_collated(TokenizedPair(*(whole[name] for name in names)), rules)[:3])
    return {
        name.removesuffix("_ids"): [
            _Token(*token)
            for token in _zip(whole[name], [name != "prompt_ids"] * len(whole[name]), left_of(whole[name], ids))
        ]
        for name, ids in zip(names, seen, strict=True)
    }


def _zip(ids: Sequence[int], scored: Sequence[bool], kept: Sequence[bool]) -> Iterator[tuple[int, bool, bool]]:
    return zip(ids, scored, kept, strict=True)


def left_of(whole: Sequence[int], kept: Sequence[int]) -> list[bool]:
    """Which tokens of `whole` are in `kept`, which is its end, its beginning, or both without what is between."""
    lost = len(whole) - len(kept)
    before = 0 if list(whole[lost:]) == list(kept) else common_length(list(whole), list(kept))
    return [not before <= place < before + lost for place in range(len(whole))]


def _pieces(tokens: Sequence[_Token], tokenizer: PreTrainedTokenizerBase, special: set[int]) -> Iterator[Piece]:
    ids = [token.id for token in tokens]
    end = 0
    for (scored, kept, control), run in groupby(tokens, lambda token: (token.scored, token.kept, token.id in special)):
        begin, end = end, end + len(list(run))
        yield Piece(_text(tokenizer, ids, begin, end), end - begin, scored, not kept, control)


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], begin: int, end: int) -> str:
    """What some tokens add to the text of those before: on their own, many tokenizers drop the space in front."""
    before, after = (str(tokenizer.decode(list(ids[:stop]))) for stop in (begin, end))
    return after[len(before) :] if after.startswith(before) else str(tokenizer.decode(list(ids[begin:end])))
