"""What scorers that are models have in common: one pass over batches of similar length, back in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from alignment.errors import Fault, SetupError
from alignment.scoring.batching import batches_by_tokens
from alignment.scoring.scorer import Conversation, check_conversations, finite_scores
from alignment.scoring.tokens import encode_conversations

BATCH_TOKENS = 16_384
"""Tokens computed together, padding included."""


class ModelScorer(ABC):
    """A model that reads a whole conversation and gives one number.

    Args:
        name: what the user calls it.
        tokenizer: with a chat template.
        limit: tokens that a conversation may have; `None` is without limit.
        batch_tokens: tokens computed together, padding included.
    """

    def __init__(
        self, name: str, tokenizer: PreTrainedTokenizerBase, *, limit: int | None, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        if batch_tokens < 1:
            raise SetupError(Fault(key="batch_tokens", value=batch_tokens, rule="must be at least 1"))
        self.name = name
        self.tokenizer = tokenizer
        self.limit = limit
        self.batch_tokens = batch_tokens

    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        """See `Scorer.score`."""
        check_conversations(conversations)
        rows = encode_conversations(conversations, self.tokenizer, limit=self.limit)
        scores = [0.0] * len(rows)
        with torch.inference_mode():
            for batch in batches_by_tokens([len(row) for row in rows], self.batch_tokens):
                given = self._score_batch([rows[at] for at in batch], [conversations[at] for at in batch], batch)
                for at, score in zip(batch, given.float().tolist(), strict=True):
                    scores[at] = score
        return finite_scores(scores, scorer=self.name)

    def _score_batch(self, rows: list[list[int]], conversations: list[Conversation], numbers: list[int]) -> Tensor:
        try:
            return self.forward(rows, conversations, numbers)
        except torch.OutOfMemoryError as error:
            raise SetupError(
                Fault(
                    key="batch_tokens",
                    value=self.batch_tokens,
                    rule=f"is too much for the memory of this device, with {len(rows)} rows of {len(rows[0])} tokens",
                    remedy="lower it, or state a lower max_length",
                )
            ) from error

    @abstractmethod
    def forward(self, rows: list[list[int]], conversations: list[Conversation], numbers: list[int]) -> Tensor:
        """Scores `[B]` of rows of token ids.

        Args:
            rows: token ids, the longest row first.
            conversations: what they were made from.
            numbers: the index of each in the caller's list, for messages.
        """
