"""A preference pair as a reward model reads it: two whole conversations, each as it will be scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.data.messages import RowFault
from alignment.data.token_check import FULL
from alignment.data.token_rules import RewardRules, TokenRules
from alignment.data.tokenize import TokenizedPair, truncate_aware, with_one_bos

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def as_scored(ids: TokenizedPair, tokenizer: PreTrainedTokenizerBase, rules: RewardRules) -> TokenizedPair:
    """One BOS where the tokenizer or the template puts one, nothing behind the template's end, and whole answers.

    A pair that is too long loses the front of its prompt. `alignment.scoring.tokens` reads conversations so, too.

    Raises:
        RowFault: an answer does not fit, and a part of it would be another answer.
    """
    whole = ids._replace(prompt_ids=with_one_bos(ids.prompt_ids, tokenizer))
    if rules.max_length is None:
        return whole
    kept = truncate_aware(whole, TokenRules(max_length=rules.max_length, max_prompt_length=1), tokenizer.bos_token_id)
    if kept.cut_chosen or kept.cut_rejected:
        longer = max(len(whole.chosen_ids), len(whole.rejected_ids))
        raise RowFault(FULL, f"an answer has {longer} tokens, and max_length is {rules.max_length} with a prompt")
    return kept
