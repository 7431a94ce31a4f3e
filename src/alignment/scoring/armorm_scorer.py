"""Conversations through ArmoRM's backbone and heads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaModel, PreTrainedModel, PreTrainedTokenizerBase

from alignment.data.pairs import RowFault
from alignment.errors import DataError, Fault, SetupError, sentence_of
from alignment.scoring.armorm import Heads, armo_score, header_spans, read_heads
from alignment.scoring.batching import padded
from alignment.scoring.checkpoint import check_loaded, device_and_dtype, explained, loading, read_config, tensor_files
from alignment.scoring.model_scorer import BATCH_TOKENS, ModelScorer
from alignment.scoring.scorer import Conversation, row_name
from alignment.scoring.tokens import encode_messages, load_scoring_tokenizer, token_limit

Gating = Literal["header", "turn"]
"""Where the gate reads the prompt: the last token of the header of the final answer (`header`), or the token before
that header, `<|eot_id|>`, which ends the user's turn (`turn`)."""

HEADER = "<|start_header_id|>assistant<|end_header_id|>\n\n"


def header_tokens(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The token ids that `HEADER` may have before an answer.

    Two newlines are one token for Llama-3; a tokenizer that splits white space before a word has two there, even if it
    knows them as one where no word follows.
    """
    spellings = (HEADER, HEADER.rstrip("\n"), HEADER[:-1])
    whole, core, once = (list(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in spellings)
    twice = [*once, *once[len(core) :]]
    return [whole] if twice == whole else [whole, twice]


def load_armorm(
    folder: Path,
    name: str,
    *,
    gating: Gating = "header",
    chat_template: str | None = None,
    max_length: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    device: str | None = None,
    dtype: str | None = None,
) -> ArmoRM:
    """The ArmoRM in `folder`, which the user calls `name`.

    Args:
        gating: where the gate reads the prompt. The code that was published beside ArmoRM-Llama3-8B-v0.1 looks for
            `<|eot_id|>` and the header together and reads where they begin, which is `turn`.
        dtype: of the backbone; the heads are fp32.

    The others are those of `load_reward_model`.

    Raises:
        SetupError: the checkpoint is not complete, or lacks a chat template.
    """
    if gating not in ("header", "turn"):
        raise SetupError(Fault(key="gating", value=gating, rule="must be header or turn"))
    place, precision = device_and_dtype(device, dtype)
    heads = read_heads(tensor_files(folder, name), read_config(folder, name), name)
    with explained(name):
        config = LlamaConfig.from_pretrained(folder)
    tokenizer = load_scoring_tokenizer(folder, name, chat_template=chat_template)
    limit = token_limit(config, tokenizer, max_length, name=name)
    with loading(name):
        backbone, info = LlamaModel.from_pretrained(folder, config=config, dtype=precision, output_loading_info=True)
    check_loaded(name, info, unused=("regression_layer.", "reward_transform_matrix", "gating."))
    return ArmoRM(
        name,
        tokenizer,
        backbone.to(place).eval(),
        heads.to(place),
        gating=gating,
        limit=limit,
        batch_tokens=batch_tokens,
    )


class ArmoRM(ModelScorer):
    """The gated sum of the rewards of the last token; its gate reads the end of the prompt."""

    def __init__(
        self,
        name: str,
        tokenizer: PreTrainedTokenizerBase,
        backbone: PreTrainedModel,
        heads: Heads,
        *,
        gating: Gating,
        limit: int | None,
        batch_tokens: int,
    ) -> None:
        super().__init__(name, tokenizer, limit=limit, batch_tokens=batch_tokens)
        self._backbone = backbone
        self._heads = heads
        self._gating = gating
        self._headers = header_tokens(tokenizer)

    def forward(self, rows: list[list[int]], conversations: list[Conversation], numbers: list[int]) -> Tensor:
        """See `ModelScorer.forward`."""
        gates = [self._gating_position(*row) for row in zip(rows, conversations, numbers, strict=True)]
        # Padding is masked and stands on the right, so its id has no effect.
        ids, mask = (tensor.to(self._backbone.device) for tensor in padded(rows, 0))
        hidden_BTD = self._backbone(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        row = torch.arange(len(rows), device=hidden_BTD.device)
        answer_BD = hidden_BTD[row, [len(ids) - 1 for ids in rows]]
        prompt_BD = hidden_BTD[row, gates]
        return armo_score(answer_BD.float(), prompt_BD.float(), self._heads)

    def _gating_position(self, ids: list[int], conversation: Conversation, number: int) -> int:
        """Index into `ids` of the token that the gate reads.

        The header of the final answer is the first one after those of the earlier turns. It is not the last one of
        all where the answer itself holds the header's text.
        """
        try:
            prompt = encode_messages(conversation[:-1], self.tokenizer)
        except RowFault as error:
            raise DataError(Fault(key=row_name(number), rule=f"has a prompt that is {sentence_of(error)}")) from error
        found, earlier = header_spans(ids, self._headers), len(header_spans(prompt, self._headers))
        if len(found) <= earlier:
            raise DataError(
                Fault(
                    key=row_name(number),
                    rule=f"holds no assistant header ({HEADER!r}) before its answer, where the gate reads the prompt",
                    remedy="use the chat template that ArmoRM was trained with (chat_template: llama3)",
                )
            )
        first, last = found[earlier]
        return last if self._gating == "header" else first - 1
