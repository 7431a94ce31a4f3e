"""The view of a row holds exactly the tokens of training, and those that truncation takes away."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from alignment.data import check_rows
from alignment.data.encode import Encoder
from alignment.data.pair_view import left_of, pair_view
from alignment.data.token_rules import DPORules, Rules, SFTRules, TokenRules

TOKENIZER = tiny.gemma_tokenizer()
PROMPT, ANSWER = "Why, " + "and when, " * 20 + "does the sun fall?", "Because " + "of the moon, " * 20 + "always."

RULES: list[Rules] = [
    TokenRules(max_length=90, max_prompt_length=40),
    TokenRules(max_length=90, max_prompt_length=40, truncation_mode="keep_start"),
    TokenRules(max_length=90, max_prompt_length=40, truncation="completion_aware"),
    DPORules(max_length=120),
    DPORules(max_length=120, truncation_mode="keep_end"),
    DPORules(max_length=None),
]


def rows() -> Any:
    return check_rows([{"prompt": PROMPT, "chosen": ANSWER, "rejected": "No. ü 東京"}], kind="preference").dataset


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_kept_and_cut_tokens_are_those_of_training(rules: Rules) -> None:
    view = pair_view(rows(), TOKENIZER, rules)
    encoded = Encoder(TOKENIZER, rules)(rows()[:])
    for part in view["parts"]:
        assert part["cut"] == encoded[f"cut_{part['name']}"][0]
        kept = sum(piece["tokens"] for piece in part["pieces"] if not piece["cut"])
        seen = len(encoded[f"{part['name']}_ids"][0])
        trimmed_by_collator = isinstance(rules, DPORules) and rules.truncation_mode == "keep_end"
        assert kept == part["tokens"] == (seen - part["cut"] if trimmed_by_collator else seen)
        assert all(piece["scored"] is (part["name"] != "prompt") for piece in part["pieces"])
    whole = "".join(piece["text"] for part in view["parts"][:2] for piece in part["pieces"])
    # The reference ends an answer in <eos> too; TRL leaves it as the template ends it.
    for text in (
        PROMPT,
        ANSWER,
        "<bos>",
        "<start_of_turn>",
        "<eos>" if isinstance(rules, TokenRules) else "<end_of_turn>",
    ):
        assert text in whole
    assert "No. ü 東京" in "".join(piece["text"] for piece in view["parts"][2]["pieces"])


def test_of_a_conversation_the_answers_are_scored() -> None:
    turns = [("user", "Hi there"), ("assistant", "First."), ("user", "And then"), ("assistant", "Second.")]
    messages = [{"role": role, "content": content} for role, content in turns]
    checked = check_rows([{"messages": messages}], kind="conversation").dataset
    (part,) = pair_view(checked, TOKENIZER, SFTRules(max_length=256))["parts"]
    scored = "".join(piece["text"] for piece in part["pieces"] if piece["scored"])
    read = "".join(piece["text"] for piece in part["pieces"] if not piece["scored"])
    assert "First." in scored and "Second." in scored and "Hi there" not in scored
    assert "Hi there" in read and "And then" in read


def test_the_first_row_that_is_cut_is_shown_or_else_the_first() -> None:
    short = {"prompt": "Why so?", "chosen": "Because.", "rejected": "No."}
    long = {"prompt": PROMPT, "chosen": ANSWER, "rejected": "No."}
    rules = RULES[0]

    def shown(*given: dict[str, str]) -> str:
        return pair_view(check_rows(list(given), kind="preference").dataset, TOKENIZER, rules)["row"]

    assert shown(short, short, long, long).startswith("row 2")
    assert shown(short, short).startswith("row 0")


def test_no_row_that_can_be_trained_on() -> None:
    assert pair_view(rows(), TOKENIZER, DPORules(max_length=5)) is None


@given(whole=st.lists(st.integers(0, 2), max_size=12), data=st.data())
def test_what_is_left_is_found_again(whole: list[int], data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    kept = whole[:begin] + whole[end:]
    marks = left_of(whole, kept)
    assert [token for token, left in zip(whole, marks, strict=True) if left] == kept
