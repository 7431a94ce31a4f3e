"""What rows mean, and why a row is refused."""

from __future__ import annotations

import pytest

from alignment.data.pairs import RowFault, check_conversation, check_pair, read_pair

ASK = {"role": "user", "content": "q"}
GOOD = {"role": "assistant", "content": "good"}
BAD = {"role": "assistant", "content": "bad"}
SYSTEM = {"role": "system", "content": "s"}
MORE = {"role": "user", "content": "and?"}

ROW = {"prompt": "q", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]}


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"prompt": "q", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"prompt": [ASK], "chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [ASK], "chosen": [GOOD], "rejected": [ASK, BAD]},
        {"prompt": "q", "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [ASK], "chosen": "good", "rejected": "bad"},
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": None, "chosen": [ASK, {**GOOD, "name": "x"}], "rejected": [ASK, BAD], "all_rm_scores": [1.0]},
    ],
)
def test_every_form_of_a_row_is_the_same_pair(row):
    assert check_pair(row) == ([ASK], [GOOD], [BAD])


def test_all_turns_but_the_last_are_the_prompt():
    turns = [SYSTEM, ASK, GOOD, MORE]
    pair = check_pair({"prompt": "q", "chosen": [*turns, GOOD], "rejected": [*turns, BAD]})
    assert pair == (turns, [GOOD], [BAD])


def test_a_prompt_string_may_be_any_user_turn_or_the_transcript():
    turns = [ASK, GOOD, MORE]
    for prompt in (" q\n", "and?", "Human: q\n\nAssistant: good\n\nHuman: and?\n\nAssistant:"):
        check_pair({"prompt": prompt, "chosen": [*turns, GOOD], "rejected": [*turns, BAD]})


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"rejected": ...}, "missing column", "rejected"),
        ({"chosen": None}, "null value", "chosen is null"),
        ({"chosen": 7}, "not a list of messages", "chosen is a number"),
        ({"chosen": {"role": "user", "content": "q"}}, "not a list of messages", "chosen is an object"),
        ({"chosen": []}, "empty list of messages", "chosen"),
        ({"chosen": ["q", "a"]}, "not a list of messages", "chosen[0] is a string"),
        ({"chosen": "good"}, "chosen and rejected of different types", "chosen is a string, rejected is a list"),
        ({"chosen": [ASK, {"role": "assistant"}]}, "message without content", "chosen[1].content"),
        ({"chosen": [ASK, {"role": "assistant", "content": None}]}, "null value", "chosen[1].content"),
        ({"chosen": [ASK, {"role": "assistant", "content": 17}]}, "non-string content", "a number"),
        ({"chosen": [ASK, {"role": 3, "content": "x"}]}, "non-string role", "chosen[1].role"),
        ({"chosen": [ASK, {**GOOD, "content": " \n\t"}]}, "empty completion", "chosen"),
        ({"rejected": [ASK, {**GOOD, "content": ""}]}, "empty completion", "rejected"),
        ({"chosen": [ASK, {**GOOD, "role": "bot"}]}, "wrong roles", "unknown role 'bot'"),
        ({"chosen": [ASK, GOOD, MORE], "rejected": [ASK, GOOD, MORE]}, "wrong roles", "is user, not assistant"),
        ({"chosen": [ASK, ASK, GOOD], "rejected": [ASK, ASK, BAD]}, "wrong roles", "turn 1 of chosen is user"),
        ({"chosen": [ASK, SYSTEM, GOOD], "rejected": [ASK, SYSTEM, BAD]}, "wrong roles", "system message at turn 1"),
        ({"chosen": [SYSTEM, GOOD], "rejected": [SYSTEM, BAD]}, "missing prompt", "no user turn"),
        ({"prompt": ..., "chosen": [GOOD], "rejected": [BAD]}, "missing prompt", ""),
        ({"prompt": " ", "chosen": "good", "rejected": "bad"}, "missing prompt", "prompt is empty"),
        ({"rejected": [ASK, {**GOOD, "content": "good\n"}]}, "chosen identical to rejected", ""),
        ({"rejected": [MORE, BAD]}, "chosen and rejected have different prompts", ""),
        ({"prompt": "else"}, "prompt contradicts the conversation", ""),
        ({"prompt": [MORE]}, "prompt contradicts the conversation", "chosen does not begin"),
        ({"prompt": [ASK], "chosen": [GOOD, MORE, GOOD]}, "wrong roles", "3 messages"),
        ({"chosen": [ASK, {**GOOD, "content": "\ud800"}]}, "not valid Unicode", "chosen[1].content"),
    ],
)
def test_bad_rows_are_refused_with_a_countable_reason(change, reason, detail):
    row = {key: value for key, value in {**ROW, **change}.items() if value is not ...}
    with pytest.raises(RowFault) as caught:
        check_pair(row)
    assert caught.value.reason == reason
    assert detail in caught.value.detail


def test_reading_is_not_checking():
    """What the reference could tokenise is read, however unfit for training."""
    empty = {**GOOD, "content": ""}
    row = {"prompt": "else", "chosen": [ASK, ASK, empty], "rejected": [MORE, empty]}
    assert read_pair(row) == ([ASK, ASK], [empty], [empty])


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASK, GOOD], "prompt": "ignored"},
        {"prompt": "q", "completion": "good"},
        {"prompt": [ASK], "completion": [GOOD]},
        {"chosen": [ASK, GOOD], "rejected": None},
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
    ],
)
def test_conversations(row):
    assert check_conversation(row) == [ASK, GOOD]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [ASK]}, "wrong roles"),
        ({"messages": None}, "null value"),
        ({"text": "x"}, "missing column"),
        ({"completion": "good"}, "missing prompt"),
        ({"messages": [ASK, {**GOOD, "content": ""}]}, "empty completion"),
    ],
)
def test_bad_conversations(row, reason):
    with pytest.raises(RowFault) as caught:
        check_conversation(row)
    assert caught.value.reason == reason
