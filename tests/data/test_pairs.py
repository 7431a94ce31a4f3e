"""What rows mean, and why a row is refused."""

from __future__ import annotations

import json

import pytest

from alignment.data.conversations import check_conversation
from alignment.data.messages import pack, read_tools, unpack
from alignment.data.pairs import RowFault, check_pair, read_pair

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
        {
            "prompt": None,
            "chosen": [ASK, {**GOOD, "id": 7, "name": None}],
            "rejected": [ASK, BAD],
            "all_rm_scores": [1.0],
        },
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
    """What the reference could tokenize is read, however unfit for training."""
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
        {"messages": json.dumps([ASK, GOOD])},
        {"prompt": json.dumps([ASK]), "completion": json.dumps(GOOD)},
    ],
)
def test_conversations(row):
    messages, first_trained = check_conversation(row)
    assert messages == [ASK, GOOD]
    assert first_trained == (0 if "messages" in row else 1)


def test_an_earlier_answer_is_trained_too_so_it_must_say_something():
    silent = [ASK, {**GOOD, "content": " "}, MORE, GOOD]
    with pytest.raises(RowFault, match="empty completion: turn 1 of messages is empty"):
        check_conversation({"messages": silent})
    assert check_conversation({"prompt": silent[:3], "completion": [GOOD]}).first_trained == 3


@pytest.mark.parametrize("write", [json.dumps, str])
def test_lists_that_were_stored_as_text_are_lists(write):
    row = {"chosen": write([ASK, GOOD]), "rejected": write([ASK, BAD])}
    assert check_pair(row) == check_pair({"prompt": "q", **row}) == ([ASK], [GOOD], [BAD])
    answers = {"prompt": write([ASK]), "chosen": write([GOOD]), "rejected": write(BAD)}
    assert check_pair(answers) == ([ASK], [GOOD], [BAD])


@pytest.mark.parametrize(
    "text", ['[{"role": "admin"}]', "[1, 2]", '{"role": "user"} is JSON', "{x", '["user", "content"]']
)
def test_text_that_is_no_list_of_messages_stays_text(text):
    assert check_pair({"prompt": "q", "chosen": text, "rejected": "bad"}).chosen[0]["content"] == text


def test_a_list_whose_text_was_cut_is_refused():
    with pytest.raises(RowFault, match="messages as unreadable text: chosen looks like a list of messages"):
        check_pair({"prompt": "q", "chosen": json.dumps([ASK, GOOD])[:-5], "rejected": "bad"})


@pytest.mark.parametrize("column", ["system", "system_prompt"])
def test_a_system_column_comes_first(column):
    for row in (ROW, {"prompt": "q", "chosen": "good", "rejected": "bad"}):
        assert check_pair({**row, column: "s"}).prompt == read_pair({**row, column: "s"}).prompt == [SYSTEM, ASK]
    assert check_conversation({"messages": [ASK, GOOD], column: "s"}).messages == [SYSTEM, ASK, GOOD]
    assert check_conversation({"messages": [SYSTEM, ASK, GOOD], column: " s "}).messages == [SYSTEM, ASK, GOOD]
    assert check_pair({**ROW, column: ""}).prompt == [ASK]
    with pytest.raises(RowFault, match="two system messages"):
        check_conversation({"messages": [SYSTEM, ASK, GOOD], column: "other"})


CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": {"at": None}}}]}
RESULT = {"role": "tool", "content": "42", "tool_call_id": "1"}


def test_what_a_template_may_read_of_a_message_is_carried():
    turns = [ASK, CALL, RESULT, {**GOOD, "reasoning_content": "hm"}]
    messages = check_conversation({"messages": turns}).messages
    assert messages == [ASK, {**CALL, "content": ""}, RESULT, turns[3]]
    assert unpack(pack(messages)) == messages
    pair = check_pair({"prompt": "q", "chosen": [CALL], "rejected": [BAD]})
    assert pair.chosen == [{**CALL, "content": ""}]
    same = {**GOOD, "tool_calls": CALL["tool_calls"]}
    assert check_pair({"prompt": "q", "chosen": [same], "rejected": [GOOD]}).chosen == [same]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "chosen": [{**GOOD, "function_call": {"name": "f"}}], "rejected": [BAD]}, "write tool_calls"),
        ({"prompt": "q", "chosen": [{**GOOD, "tool_calls": "f()"}], "rejected": [BAD]}, "not a list of tool calls"),
        ({"prompt": [ASK, RESULT], "chosen": "good", "rejected": "bad"}, "turn 1 of chosen is tool, not assistant"),
        ({"prompt": [ASK, GOOD, RESULT], "chosen": "good", "rejected": "bad"}, "turn 2 of chosen is tool, not user"),
    ],
)
def test_what_is_not_carried_is_refused_by_name(row, message):
    with pytest.raises(RowFault, match=message):
        check_pair(row)


def test_tools_are_schemas_or_the_text_of_them():
    tool = {"type": "function", "function": {"name": "look"}}
    assert read_tools([tool]) == read_tools(json.dumps([tool])) == [tool]
    assert read_tools(None) is read_tools([]) is read_tools("") is None
    for value in ("[", 7, ["look"]):
        with pytest.raises(RowFault, match="tools"):
            read_tools(value)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [ASK]}, "wrong roles"),
        ({"messages": None}, "null value"),
        ({"words": "x"}, "missing column"),
        ({"text": " "}, "empty text"),
        ({"completion": "good"}, "missing prompt"),
        ({"messages": [ASK, {**GOOD, "content": ""}]}, "empty completion"),
    ],
)
def test_bad_conversations(row, reason):
    with pytest.raises(RowFault) as caught:
        check_conversation(row)
    assert caught.value.reason == reason
