"""A preference row to token ids, by the reference's rules (arXiv 2405.14734, as its authors ran it).

One pair becomes three lists of ids, `prompt_ids`, `chosen_ids`, `rejected_ids`; a sequence that the model
sees is `prompt_ids + chosen_ids` or `prompt_ids + rejected_ids`, and the completion's ids are the ones that
are scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.chat import GenerationPrompt, PairText, render_pair
from alignment.data.messages import RowFault, read_tools
from alignment.data.pairs import read_pair
from alignment.data.token_rules import TokenRules, Truncation, TruncationMode
from alignment.errors import DataError, Fault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ALGORITHM = 1
"""Raised whenever the ids of some row change, so that cached ids of older versions are not used."""


class TokenizedPair(NamedTuple):
    """The ids of one pair, and what truncation took from it."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    cut_prompt: int = 0
    """Tokens that the prompt lost."""
    cut_chosen: int = 0
    """Tokens that the chosen completion lost, its end-of-sequence token included."""
    cut_rejected: int = 0

    def as_row(self) -> dict[str, list[int]]:
        return {
            "prompt_ids": self.prompt_ids,
            "chosen_ids": self.chosen_ids,
            "rejected_ids": self.rejected_ids,
        }


def tokenize_preference(
    row: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    max_prompt_length: int,
    truncation_mode: TruncationMode = "keep_end",
    truncation: Truncation = "reference",
    generation_prompt: GenerationPrompt = "completion",
) -> dict[str, list[int]]:
    """`{"prompt_ids", "chosen_ids", "rejected_ids"}` of one row, for callers with settings of their own.

    Args:
        row: `chosen` and `rejected` (message lists or strings), optionally `prompt`; see `read_pair`.
        tokenizer: with its chat template.
        max_length, max_prompt_length, truncation_mode, truncation, generation_prompt: see `TokenRules`.

    Raises:
        DataError: the row is no preference pair, or the template cannot render it.
        ValueError: settings that cannot be.
    """
    rules = TokenRules(
        max_length=max_length,
        max_prompt_length=max_prompt_length,
        truncation_mode=truncation_mode,
        truncation=truncation,
        generation_prompt=generation_prompt,
    )
    return tokenize_pair(row, tokenizer, rules).as_row()


def tokenize_pair(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, rules: TokenRules) -> TokenizedPair:
    """Render, tokenize, add BOS and EOS, truncate: in this order, as the order decides what survives.

    Args:
        row: as `tokenize_preference` takes it.

    Raises:
        DataError: the row is no preference pair, or the template cannot render it.
    """
    try:
        pair = read_pair(row)
    except RowFault as fault:
        raise DataError(Fault(key="row", rule=f"is no preference pair: {fault}")) from fault
    try:
        tools = read_tools(row.get("tools"))
        text = render_pair(pair, tokenizer, generation_prompt=rules.generation_prompt, tools=tools)
    except RowFault as fault:
        raise DataError(Fault(key="row", rule=f"is {fault.reason}", remedy=fault.detail)) from fault
    return finish(encode([text], tokenizer)[0], tokenizer, rules)


def finish(ids: TokenizedPair, tokenizer: PreTrainedTokenizerBase, rules: TokenRules) -> TokenizedPair:
    """BOS, EOS and truncation as `rules` have them."""
    whole = _with_special_ids(ids, tokenizer)
    if rules.truncation == "reference":
        return _truncate_as_reference(whole, rules)
    return truncate_aware(whole, rules, tokenizer.bos_token_id)


def encode(texts: Sequence[PairText], tokenizer: PreTrainedTokenizerBase) -> list[TokenizedPair]:
    """The ids of many pairs, by one call of the tokenizer."""
    if not texts:
        return []
    conversations = [part for t in texts for part in (t.prompt, t.prompt + t.chosen, t.prompt + t.rejected)]
    ids = tokenizer(conversations, add_special_tokens=False)["input_ids"]
    return [_share_prompt(*ids[at : at + 3]) for at in range(0, len(ids), 3)]


def _share_prompt(prompt: list[int], chosen: list[int], rejected: list[int]) -> TokenizedPair:
    """Token ids such that prompt + completion is exactly what the tokenizer makes of the whole conversation.

    The end of the prompt can merge with the start of a completion. A side where that happens gives up its
    last prompt token, as in the reference. The reference keeps one prompt for each side; here both share one,
    so when only one side merged (or the two merged differently) the tokens in which the prompts differ move
    to the start of the completions: each conversation keeps the reference's ids, and one token more is scored
    on a side. Gemma-2 cannot lead there, as its turns begin and end in special tokens.
    """
    cuts = [_boundary(prompt, conversation) for conversation in (chosen, rejected)]
    shared = common_length(chosen[: cuts[0]], rejected[: cuts[1]])
    return TokenizedPair(chosen[:shared], chosen[shared:], rejected[shared:])


def _boundary(prompt: list[int], conversation: list[int]) -> int:
    """How many leading tokens of the conversation are prompt."""
    return len(prompt) if conversation[: len(prompt)] == prompt else len(prompt) - 1


def common_length(left: Sequence[Any], right: Sequence[Any]) -> int:
    """How many leading items two sequences share."""
    if left == right:  # of prompts nearly always, and told by one fast comparison
        return len(left)
    for position, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return position
    return min(len(left), len(right))


def _with_special_ids(ids: TokenizedPair, tokenizer: PreTrainedTokenizerBase) -> TokenizedPair:
    """BOS in front of the prompt and EOS behind each completion, unless that very place holds it already."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if eos is None:
        raise no_eos()
    prompt = ids.prompt_ids if bos is None or ids.prompt_ids[:1] == [bos] else [bos, *ids.prompt_ids]
    chosen, rejected = (
        completion if completion[-1:] == [eos] else [*completion, eos]
        for completion in (ids.chosen_ids, ids.rejected_ids)
    )
    return TokenizedPair(prompt, chosen, rejected)


def with_one_bos(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """`ids` of a rendered conversation with exactly one BOS, where the tokenizer or the template puts one."""
    bos = tokenizer.bos_token_id
    if bos is None:
        return ids
    opening = next((at for at, token in enumerate(ids) if token != bos), len(ids))
    adds_one = list(tokenizer("")["input_ids"])[:1] == [bos]
    return [bos, *ids[opening:]] if opening or adds_one else ids


def no_eos() -> DataError:
    rule = "has no end-of-sequence token"
    return DataError(Fault(key="tokenizer", rule=rule, remedy="set eos_token in its configuration"))


def _truncate_as_reference(ids: TokenizedPair, rules: TokenRules) -> TokenizedPair:
    """The reference's rule. The longer completion decides for both sides:

    if prompt + longer > max_length, the prompt keeps `max_prompt_length` tokens (BOS goes too under `keep_end`);
    if it still is, *each* completion keeps `max_length - max_prompt_length` tokens, however short the prompt is.
    """
    prompt, chosen, rejected = ids[:3]
    longer = max(len(chosen), len(rejected))
    if len(prompt) + longer > rules.max_length:
        keep = rules.max_prompt_length
        prompt = prompt[:keep] if rules.truncation_mode == "keep_start" else prompt[-keep:]
    if len(prompt) + longer > rules.max_length:
        room = rules.max_length - rules.max_prompt_length
        chosen, rejected = chosen[:room], rejected[:room]
    return _with_losses(ids, prompt, chosen, rejected)


def truncate_aware(ids: TokenizedPair, rules: TokenRules, bos: int | None) -> TokenizedPair:
    """Take only what must go:

    the prompt is shortened just enough for the longer completion to fit, never below `max_prompt_length`, and
    keeps its BOS whichever end is kept; then a completion that still does not fit is cut to the room left
    behind the prompt, and the other stays whole. A cut completion carries no EOS: with it the model would be
    taught to stop in mid-sentence. The loss is counted (`cut_chosen`, `cut_rejected`) and reported.
    """
    prompt, chosen, rejected = ids[:3]
    longer = max(len(chosen), len(rejected))
    keep = max(rules.max_prompt_length, rules.max_length - longer)
    if len(prompt) > keep:
        head = prompt[:1] if rules.truncation_mode == "keep_end" and prompt[:1] == [bos] else []
        tail = keep - len(head)
        prompt = prompt[:keep] if rules.truncation_mode == "keep_start" else [*head, *prompt[len(prompt) - tail :]]
    room = rules.max_length - len(prompt)
    return _with_losses(ids, prompt, chosen[:room], rejected[:room])


def _with_losses(ids: TokenizedPair, prompt: list[int], chosen: list[int], rejected: list[int]) -> TokenizedPair:
    return TokenizedPair(
        prompt,
        chosen,
        rejected,
        cut_prompt=len(ids.prompt_ids) - len(prompt),
        cut_chosen=len(ids.chosen_ids) - len(chosen),
        cut_rejected=len(ids.rejected_ids) - len(rejected),
    )
