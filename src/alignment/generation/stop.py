"""Where an answer ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from alignment.generation.answers import Answer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Stops:
    """What ends an answer: the first stop token, or the first stop text. Neither belongs to the answer.

    Args:
        ids: tokens that end an answer.
        texts: texts that do.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, ids: Iterable[int], texts: Sequence[str] = ()) -> None:
        self.ids = frozenset(ids)
        self._texts = texts
        self._tokenizer = tokenizer

    def answer(self, drawn: Sequence[int]) -> Answer:
        """The answer in a row of drawn ids; what follows its end is padding."""
        kept = self._before_end(drawn)
        text = self._decoded(kept)
        cut = self._cut(text)
        if cut is not None:
            return Answer(text=text[:cut].strip(), finished=True, tokens=self._tokens_to_text(kept))
        ended = len(kept) < len(drawn)
        return Answer(text=text.strip(), finished=ended, tokens=len(kept) + ended)

    def text(self, drawn: Sequence[int]) -> str:
        """The text of the answer so far."""
        text = self._decoded(self._before_end(drawn))
        return text[: self._cut(text)]

    def settled(self, drawn: Sequence[int]) -> str:
        """The part of `text` that no further token changes: without half a character, or what may begin a stop text."""
        text = self.text(drawn).rstrip("\N{REPLACEMENT CHARACTER}")
        begun = (at for stop in self._texts for at in range(1, len(stop)) if text.endswith(stop[:at]))
        return text[: len(text) - max(begun, default=0)]

    def _before_end(self, drawn: Sequence[int]) -> Sequence[int]:
        end = next((at for at, token in enumerate(drawn) if token in self.ids), len(drawn))
        return drawn[:end]

    def _cut(self, text: str) -> int | None:
        """Where the first stop text begins."""
        return min((at for stop in self._texts if (at := text.find(stop)) >= 0), default=None)

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _tokens_to_text(self, drawn: Sequence[int]) -> int:
        """How many tokens were drawn until a stop text was there: found by bisection, since it then stays there."""
        low, high = 1, len(drawn)
        while low < high:
            middle = (low + high) // 2
            there = any(stop in self._decoded(drawn[:middle]) for stop in self._texts)
            low, high = (low, middle) if there else (middle + 1, high)
        return low
