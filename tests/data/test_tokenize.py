"""Token ids worked out by hand: one token a word, so that every rule can be counted on the fingers.

With `GEMMA2_TOKENIZER=<folder of the real tokenizer>` the ids of the real one are checked too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from alignment.data import TokenRules, resolve_chat_template, tokenize_pair, tokenize_preference
from alignment.errors import DataError

PAD, EOS, BOS, UNK, SOT, EOT, NL, USER, MODEL = range(9)
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]


@pytest.fixture(scope="module")
def tokenizer():
    """Words to ids: the special tokens, newline, user, model, then w9, w10, ... whose name is their id."""
    words = [*SPECIAL, "\n", "user", "model", *(f"w{number}" for number in range(9, 60))]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split("\n", "isolated")]
    )
    backend.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return wrapped(backend, resolve_chat_template("gemma2"))


def wrapped(backend, template):
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.chat_template = template
    return fast


def words(*ids):
    return " ".join(f"w{number}" for number in ids)


def pair(prompt, chosen, rejected):
    turns = [{"role": "user", "content": words(*prompt)}]
    return {
        "chosen": [*turns, {"role": "assistant", "content": words(*chosen)}],
        "rejected": [*turns, {"role": "assistant", "content": words(*rejected)}],
    }


def turn(role, *ids):
    return [SOT, role, NL, *ids, EOT, NL]


def ids(row, tokenizer, max_length=100, max_prompt_length=50, **settings):
    result = tokenize_preference(row, tokenizer, max_length=max_length, max_prompt_length=max_prompt_length, **settings)
    return result["prompt_ids"], result["chosen_ids"], result["rejected_ids"]


def test_header_and_end_of_turn_belong_to_the_completion(tokenizer):
    assert ids(pair([10, 11], [20], [30, 31]), tokenizer) == (
        [BOS, *turn(USER, 10, 11)],
        [*turn(MODEL, 20), EOS],
        [*turn(MODEL, 30, 31), EOS],
    )


def test_all_turns_but_the_last_are_the_prompt(tokenizer):
    turns = [
        {"role": "system", "content": " w9 "},
        {"role": "user", "content": "w10"},
        {"role": "assistant", "content": "w20"},
        {"role": "user", "content": "w11\n"},
    ]
    row = {
        side: [*turns, {"role": "assistant", "content": text}] for side, text in (("chosen", "w21"), ("rejected", ""))
    }
    assert ids(row, tokenizer) == (
        [BOS, *turn(USER, 9, NL, NL, 10), *turn(MODEL, 20), *turn(USER, 11)],
        [*turn(MODEL, 21), EOS],
        [*turn(MODEL), EOS],
    )


def test_the_rejected_side_is_read_behind_the_chosen_sides_prompt(tokenizer):
    row = pair([10], [20], [30])
    row["rejected"][0] = {"role": "user", "content": "w59"}
    assert ids(row, tokenizer) == ids(pair([10], [20], [30]), tokenizer)


def test_special_tokens_in_content_are_tokens(tokenizer):
    row = pair([10], [20], [30])
    row["chosen"][-1] = {"role": "assistant", "content": "<bos>w20<end_of_turn>\n<eos>"}
    assert ids(row, tokenizer)[1] == [*turn(MODEL, BOS, 20, EOT, NL, EOS), EOS]


def test_the_row_is_left_as_it_was(tokenizer):
    row = pair([10], [20], [30])
    ids(row, tokenizer)
    assert row == pair([10], [20], [30])


def test_bos_and_eos_are_added_only_where_they_are_missing(tokenizer):
    closed = wrapped(tokenizer.backend_tokenizer, "{% for turn in messages %}{{ turn.content }} <eos> {% endfor %}")
    assert ids(pair([10], [20], [30]), closed) == ([BOS, 10, EOS], [20, EOS], [30, EOS])


# Truncation by the reference's rule: prompt of 11 tokens, completions of 7 and 9.
LONG = pair([10, 11, 12, 13, 14], [20], [30, 31, 32])
PROMPT = [BOS, *turn(USER, 10, 11, 12, 13, 14)]
CHOSEN = [*turn(MODEL, 20), EOS]
REJECTED = [*turn(MODEL, 30, 31, 32), EOS]


@pytest.mark.parametrize(
    ("max_length", "max_prompt_length", "mode", "expected"),
    [
        # 11 + 9 fits.
        (20, 5, "keep_end", (PROMPT, CHOSEN, REJECTED)),
        # One too many: the prompt drops to max_prompt_length at once, and that is enough.
        (19, 5, "keep_end", (PROMPT[-5:], CHOSEN, REJECTED)),
        (19, 5, "keep_start", (PROMPT[:5], CHOSEN, REJECTED)),
        # 9 + 9 is still too long for 15, so each completion keeps 15 - 9 tokens; the shorter one loses its end too.
        (15, 9, "keep_end", (PROMPT[-9:], CHOSEN[:6], REJECTED[:6])),
        # The prompt is shorter than max_prompt_length: it stays, yet completions keep 18 - 13 only.
        (18, 13, "keep_start", (PROMPT, CHOSEN[:5], REJECTED[:5])),
        # max_length - max_prompt_length is one token.
        (16, 15, "keep_end", (PROMPT, CHOSEN[:1], REJECTED[:1])),
    ],
)
def test_truncation_as_the_reference_has_it(tokenizer, max_length, max_prompt_length, mode, expected):
    assert ids(LONG, tokenizer, max_length, max_prompt_length, truncation_mode=mode) == expected


@pytest.mark.parametrize(
    ("max_length", "max_prompt_length", "mode", "expected"),
    [
        (20, 5, "keep_end", (PROMPT, CHOSEN, REJECTED)),
        # One too many: the prompt loses one token, not six, and keeps its BOS.
        (19, 5, "keep_end", ([BOS, *PROMPT[2:]], CHOSEN, REJECTED)),
        (19, 5, "keep_start", (PROMPT[:-1], CHOSEN, REJECTED)),
        # The prompt cannot go below 9, so the longer completion keeps 15 - 9 tokens; the shorter one as well.
        (15, 9, "keep_end", ([BOS, *PROMPT[-8:]], CHOSEN[:6], REJECTED[:6])),
        # Room for 8 behind a whole prompt: the longer completion is cut, the shorter keeps its EOS.
        (19, 15, "keep_end", (PROMPT, CHOSEN, REJECTED[:8])),
    ],
)
def test_truncation_that_takes_only_what_must_go(tokenizer, max_length, max_prompt_length, mode, expected):
    settings = {"truncation_mode": mode, "truncation": "completion_aware"}
    assert ids(LONG, tokenizer, max_length, max_prompt_length, **settings) == expected


@pytest.mark.parametrize("truncation", ["reference", "completion_aware"])
def test_losses_are_counted_and_no_length_is_exceeded(tokenizer, truncation):
    for max_length in range(3, 24):
        for max_prompt_length in range(1, max_length):
            rules = TokenRules(max_length=max_length, max_prompt_length=max_prompt_length, truncation=truncation)
            cut = tokenize_pair(LONG, tokenizer, rules)
            assert len(cut.prompt_ids) + max(len(cut.chosen_ids), len(cut.rejected_ids)) <= max_length
            assert min(len(cut.prompt_ids), len(cut.chosen_ids), len(cut.rejected_ids)) >= 1
            assert cut.cut_prompt == len(PROMPT) - len(cut.prompt_ids)
            assert cut.cut_rejected == len(REJECTED) - len(cut.rejected_ids)
            assert (cut.chosen_ids[-1] == EOS) == (cut.cut_chosen == 0)


@pytest.mark.parametrize("settings", [{"max_prompt_length": 100}, {"truncation": "aware"}, {"truncation_mode": "x"}])
def test_settings_that_cannot_be(tokenizer, settings):
    with pytest.raises(ValueError, match=str(next(iter(settings.values())))):
        ids(LONG, tokenizer, **settings)


def test_the_header_can_count_as_prompt(tokenizer):
    assert ids(pair([10], [20], [30]), tokenizer, generation_prompt="prompt") == (
        [BOS, *turn(USER, 10), SOT, MODEL, NL],
        [20, EOT, NL, EOS],
        [30, EOT, NL, EOS],
    )


def test_a_template_that_speaks_first_is_rendered_as_a_conversation(tokenizer):
    """A completion rendered on its own would repeat the default system message."""
    greeting = (
        "{% if messages[0].role != 'system' %}w50 {% endif %}{% for turn in messages %}{{ turn.content }} {% endfor %}"
    )
    assert ids(pair([10], [20], [30]), wrapped(tokenizer.backend_tokenizer, greeting)) == (
        [BOS, 50, 10],
        [20, EOS],
        [30, EOS],
    )


def test_a_template_without_a_stable_prompt_is_refused(tokenizer):
    last = wrapped(tokenizer.backend_tokenizer, "{{ messages | length }} {{ messages[-1].content }}")
    with pytest.raises(DataError, match="the prompt is rendered differently once chosen follows; use another template"):
        ids(pair([10], [20], [30]), last)


def test_a_prompt_token_that_merges_goes_to_the_completion():
    """`a` + `b` is one token, `a` + `c` two. The reference steps back on the side that merged; one shared prompt
    means that both do, and each conversation keeps the tokenizer's own ids."""
    vocabulary = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "a": 4, "b": 5, "c": 6, "ab": 7, "x": 8}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("<eos>"), "isolated")
    joined = wrapped(backend, "{% for turn in messages %}{{ turn.content }}{% endfor %}")

    def row(chosen, rejected):
        turns = [{"role": "user", "content": "xa"}]
        answers = {"chosen": chosen, "rejected": rejected}
        return {side: [*turns, {"role": "assistant", "content": text}] for side, text in answers.items()}

    assert ids(row("c", "cc"), joined) == ([2, 8, 4], [6, 1], [6, 6, 1])
    assert ids(row("b", "bc"), joined) == ([2, 8], [7, 1], [7, 6, 1])
    assert ids(row("b", "c"), joined) == ([2, 8], [7, 1], [4, 6, 1])


def test_a_row_that_is_no_pair(tokenizer):
    with pytest.raises(DataError, match="is no preference pair: missing column: rejected"):
        ids({"chosen": "w10"}, tokenizer)


GEMMA = os.environ.get("GEMMA2_TOKENIZER")
GEMMA_IDS = (
    [2, 106, 1645, 108, 4521, 235269, 139, 235271, 2864, 706, 235248, 241355, 235879, 244355, 107, 108],
    [106, 2516, 108, 2151, 235341, 110, 235290, 207230, 107, 107, 108, 1],
    [106, 2516, 108, 2, 107, 108, 1],
)
"""Prompt, chosen and rejected ids of the row below, as the reference has them."""


@pytest.mark.skipif(GEMMA is None, reason="GEMMA2_TOKENIZER names no folder")
def test_ids_of_the_real_gemma_tokenizer():
    fast = PreTrainedTokenizerFast(
        tokenizer_file=str(Path(GEMMA) / "tokenizer.json"), bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    fast.chat_template = resolve_chat_template("gemma2")
    row = {
        "prompt": "ignored",
        "chosen": [
            {"role": "system", "content": ""},
            {"role": "user", "content": "\n Hello,  wörld 👩‍👧 \n"},
            {"role": "assistant", "content": "Hi!\n\n\n- 数学<end_of_turn>"},
        ],
        "rejected": [{"role": "user", "content": "other"}, {"role": "assistant", "content": "<bos>"}],
    }
    assert ids(row, fast, 2048, 1800) == GEMMA_IDS
