"""Requests to token ids: chat template, header of the answer, exactly one BOS, nothing cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from alignment.data.messages import RowFault
from alignment.errors import DataError, Fault, sentence_of
from alignment.generation.engine import Request
from alignment.scoring.batching import batches_by_tokens
from alignment.scoring.tokens import encode_messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOOK_AHEAD = 1024
"""Requests whose lengths are looked at together: batches of one length waste nothing, and memory stays bounded."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that the model can read."""

    request: Request
    ids: list[int]
    """Token ids of the prompt."""
    room: int
    """Tokens that the answer may have: `max_new_tokens`, or what the model's positions leave."""

    @property
    def tokens(self) -> int:
        """Tokens of prompt and longest answer."""
        return len(self.ids) + self.room


class Prompts:
    """Reads requests for one model.

    Args:
        tokenizer: with a chat template.
        longest: tokens of an answer.
        positions: tokens that prompt and answer may have together; `None` is without limit.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, longest: int, positions: int | None) -> None:
        self._tokenizer = tokenizer
        self._longest = longest
        self._positions = positions

    def windows(self, requests: Iterable[Request], *, size: int = LOOK_AHEAD) -> Iterator[list[Asked]]:
        """The requests, `size` at a time.

        Raises:
            DataError: the chat template refuses some of a window, or they fill all of the model's positions.
        """
        source = iter(requests)
        while window := list(islice(source, size)):
            yield self.read(window)

    def read(self, requests: Sequence[Request]) -> list[Asked]:
        """See `windows`."""
        read: list[Asked] = []
        faults: list[Fault] = []
        for request in requests:
            try:
                read.append(self._read(request))
            except DataError as error:
                faults.extend(error.faults)
        if faults:
            raise DataError(faults)
        return read

    def _read(self, request: Request) -> Asked:
        key = f"request {request.id}"
        try:
            ids = encode_messages(request.messages, self._tokenizer, add_generation_prompt=True)
        except RowFault as error:
            raise DataError(Fault(key=key, rule=f"is {sentence_of(error)}")) from error
        room = self._longest if self._positions is None else min(self._longest, self._positions - len(ids))
        if room < 1:
            rule = f"has {len(ids)} tokens, and the model has {self._positions} positions for question and answer"
            raise DataError(Fault(key=key, rule=rule, remedy="leave it out, or shorten it"))
        return Asked(request=request, ids=ids, room=room)


def positions_of(config: Any) -> int | None:
    """Tokens that a model of this configuration can take, or `None` where it states no limit."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def batches(asked: Sequence[Asked], budget: int) -> list[list[Asked]]:
    """Batches of similar length whose tokens, padding and answers included, stay within `budget`.

    One whose answer has less room than the others' is alone, as those of a batch are drawn to one length.
    """
    usual = max((one.room for one in asked), default=0)
    full = [one for one in asked if one.room == usual]
    alone = [[one] for one in asked if one.room < usual]
    return [[full[at] for at in batch] for batch in batches_by_tokens([one.tokens for one in full], budget)] + alone
