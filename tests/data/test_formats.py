"""Rows in every shape give the canonical row; what is not read is refused by name."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import get_args

import datasets
import pytest
from tiny import write_jsonl

from alignment.data import check_rows, load_dataset_splits
from alignment.data.formats import FORMATS, Asked
from alignment.data.messages import unpack
from alignment.errors import DataError
from alignment.recipe.dataset_formats import DatasetFormat, PreferenceFormat
from alignment.recipe.schema import DataArguments, DatasetMixture, DatasetSource
from alignment.recipe.selection import SelectionSettings

ASK = {"role": "user", "content": "q"}
GOOD = {"role": "assistant", "content": "good"}
BAD = {"role": "assistant", "content": "bad"}
SYSTEM = {"role": "system", "content": "s"}
MORE = {"role": "user", "content": "and?"}
SINGLE = [ASK]
TURNS = [ASK, GOOD, MORE]
ANSWERS = {"chosen": "good", "rejected": "bad"}


def others(row: dict) -> dict:
    """The row with another answer, so that a file of two rows can be told apart."""
    return json.loads(json.dumps(row).replace("bad", "worse"))


def read(rows, kind="preference", **asked):
    """Format, and the first row."""
    rows = rows if isinstance(rows, list) else [rows]
    checked = check_rows(rows, kind=kind, asked=Asked(**asked))
    row = checked.dataset[0]
    sides = ("prompt", "chosen", "rejected") if kind == "preference" else ("messages",)
    return checked.format, *(unpack(row[side]) for side in sides)


def test_the_names_are_those_of_the_recipe():
    assert list(FORMATS) == [name for name in get_args(DatasetFormat) if name != "auto"]
    assert [name for name, each in FORMATS.items() if each.gives == "preference"] == list(get_args(PreferenceFormat))


PAIRS = [
    ("pairs", {"chosen": [ASK, GOOD], "rejected": [ASK, BAD]}, SINGLE),
    ("pairs", {"prompt": "q", **ANSWERS}, SINGLE),
    ("pairs", {"prompt": [ASK], "chosen": GOOD, "rejected": BAD}, SINGLE),
    ("pairs", {"prompt": ASK, "chosen": GOOD, "rejected": BAD}, SINGLE),
    (
        "pairs",
        {
            "chosen": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "good"}],
            "rejected": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "bad"}],
        },
        SINGLE,
    ),
    ("transcript_pairs", {side: f"\n\nHuman: q\n\nAssistant: {text}" for side, text in ANSWERS.items()}, SINGLE),
    (
        "transcript_pairs",
        {
            side: f"\n\nHuman: q\n\nAssistant: good \n\nHuman:and?\n\nAssistant: {text}\n"
            for side, text in ANSWERS.items()
        },
        TURNS,
    ),
    ("transcript_pairs", {"prompt": "\n\nHuman: q\n\nAssistant:", "chosen": " good", "rejected": " bad"}, SINGLE),
    ("transcript_pairs", {"prompt": "Human: q\n\nAssistant: ", "chosen": "good", "rejected": "bad"}, SINGLE),
    ("instruction_pairs", {"system": "s", "question": "q", **ANSWERS}, [SYSTEM, ASK]),
    ("instruction_pairs", {"system": " ", "input": "q", **ANSWERS}, SINGLE),
    ("instruction_pairs", {"instruction": "q", "input": "", **ANSWERS}, SINGLE),
    (
        "instruction_pairs",
        {"instruction": "q", "input": "and?", **ANSWERS},
        [{"role": "user", "content": "q\nand?"}],
    ),
    ("instruction_pairs", {"instruction": "and?", "history": [["q", "good"]], **ANSWERS}, TURNS),
    ("instruction_pairs", {"instruction": "q", "chosen_response": "good", "rejected_response": "bad"}, SINGLE),
    ("context_pairs", {"messages": TURNS, "chosen": GOOD, "rejected": BAD}, TURNS),
    ("context_pairs", {"system": "s", "messages": SINGLE, **ANSWERS}, [SYSTEM, ASK]),
    (
        "context_pairs",
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        SINGLE,
    ),
    ("context_pairs", {"conversation": SINGLE, "chosen": [GOOD], "rejected": [BAD]}, SINGLE),
    ("swift_pairs", {"messages": [*TURNS, GOOD], "rejected_response": "bad"}, TURNS),
    ("swift_pairs", {"messages": [SYSTEM, ASK, GOOD], "rejected_messages": [SYSTEM, ASK, BAD]}, [SYSTEM, ASK]),
    ("ranked_output", {"instruction": "q", "input": "", "output": ["good", "bad"]}, SINGLE),
    ("scored_answers", {"prompt": "q", "responses": ["so", "good", "bad"], "scores": [1, 2.5, 0.5]}, SINGLE),
    (
        "scored_answers",
        {"prompt_id": "1", "prompt": TURNS, "all_generated_responses": ["bad", "good"], "all_rm_scores": [0.1, 0.2]},
        TURNS,
    ),
    ("scored_answers", {"instruction": "q", "candidates": ["bad", "so", "good"], "ranks": [3, 2, 1]}, SINGLE),
    (
        "rated_answers",
        {"context": TURNS, "completions": [{"rank": 1, "completion": [BAD]}, {"rank": 0, "completion": [GOOD]}]},
        TURNS,
    ),
    (
        "rated_answers",
        {
            "prompt": "\n\nHuman: q\n\nAssistant: ",
            "answers": [{"answer": "bad", "rank": 2.0, "model": "x"}, {"answer": "good", "rank": 1.0, "model": "y"}],
        },
        SINGLE,
    ),
    (
        "rated_answers",
        {
            "instruction": "q",
            "completions": [{"response": "good", "overall_score": 9}, {"response": "bad", "overall_score": 2}],
        },
        SINGLE,
    ),
    (
        "compared_answers",
        {"context": TURNS, "response1": "bad", "response2": "good", "overall_preference": 2, "domain": "code"},
        TURNS,
    ),
    ("compared_answers", {"prompt": "q", "response_1": "good", "response_2": "bad", "preference_strength": -1}, SINGLE),
    ("compared_answers", {"prompt": "q", "response_0": "bad", "response_1": "good", "better_response_id": 1}, SINGLE),
    (
        "compared_answers",
        {"instruction": "q", "input": "", "output_1": "good", "output_2": "bad", "preference": 1},
        SINGLE,
    ),
    ("compared_answers", {"prompt": "q", "response_a": "bad", "response_b": "good", "winner": "model_b"}, SINGLE),
    ("instruction_pairs", {"question": "q", "response_j": "good", "response_k": "bad"}, SINGLE),
]


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(("name", "row", "prompt"), PAIRS)
def test_every_shape_of_a_preference_is_the_same_pair(name, row, prompt, typed):
    rows = [row, others(row)]
    given = datasets.Dataset.from_list(rows) if typed else rows
    checked = check_rows(given, kind="preference")
    pairs = [tuple(unpack(row[side]) for side in ("prompt", "chosen", "rejected")) for row in checked.dataset]
    assert checked.format == name
    assert pairs == [(prompt, [GOOD], [BAD]), (prompt, [GOOD], [{**BAD, "content": "worse"}])]


@pytest.mark.parametrize(
    ("name", "row", "messages"),
    [
        ("conversations", {"messages": [ASK, GOOD]}, [ASK, GOOD]),
        ("conversations", {"prompt": "q", "completion": "good"}, [ASK, GOOD]),
        ("alpaca", {"instruction": "q", "input": "", "output": "good"}, [ASK, GOOD]),
        (
            "alpaca",
            {"system": "s", "query": "and?", "response": "bad", "history": [["q", "good"]]},
            [SYSTEM, *TURNS, BAD],
        ),
        ("alpaca", {"prompt": "q", "response": "good"}, [ASK, GOOD]),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "system", "value": "s"},
                    {"from": "human", "value": "q"},
                    {"from": "gpt", "value": "good"},
                ]
            },
            [SYSTEM, ASK, GOOD],
        ),
        ("sharegpt", {"system": "", "conversation": [{"human": "q", "assistant": "good"}]}, [ASK, GOOD]),
        (
            "conversations",
            {"messages": [{"role": "human", "content": "q"}, {"role": "gpt", "content": "good"}]},
            [ASK, GOOD],
        ),
        ("conversations", {"messages": [ASK, GOOD], "rejected_response": "bad"}, [ASK, GOOD]),
        ("instruction_pairs", {"question": "q", **ANSWERS}, [ASK, GOOD]),
        ("context_pairs", {"messages": SINGLE, "chosen": GOOD, "rejected": BAD}, [ASK, GOOD]),
        ("scored_answers", {"prompt": "q", "responses": ["bad", "good"], "scores": [1, 2]}, [ASK, GOOD]),
        (
            "transcript_pairs",
            {side: f"\n\nHuman: q\n\nAssistant: {text}" for side, text in ANSWERS.items()},
            [ASK, GOOD],
        ),
    ],
)
def test_every_shape_of_a_conversation(name, row, messages):
    assert read(row, "conversation") == (name, messages)


def test_a_column_is_renamed_or_left_out():
    row = {"ask": "q", "better": "good", "worse": "bad", "images": ["x.png"], "id": 7}
    column_map = {"ask": "prompt", "better": "chosen", "worse": "rejected", "images": None}
    assert read(row, column_map=column_map) == ("pairs", SINGLE, [GOOD], [BAD])
    checked = check_rows([row], kind="preference", asked=Asked(column_map=column_map))
    assert checked.unread == ("id",)
    named = {"chosen": [ASK, {**GOOD, "name": "x"}], "rejected": [ASK, BAD]}
    assert read(named)[2] == [{**GOOD, "name": "x"}]
    assert read(named, column_map={"chosen[].name": None})[2] == [GOOD]


@pytest.mark.parametrize(
    ("column_map", "message"),
    [
        ({"promt": "prompt"}, "column_map of the data promt does not exist; did you mean prompt?"),
        ({"prompt": "promt"}, "promt is no column that a format reads; did you mean prompt?"),
        ({"id": "prompt"}, "prompt is a column already; leave the other one out: {prompt: null}"),
        ({"id": "system", "prompt": "system"}, "system is given to two columns; keep one of them"),
        ({"images[].name": None}, "images[].name does not exist"),
    ],
)
def test_faults_of_a_column_map(column_map, message):
    for rows in (
        [{"prompt": "q", **ANSWERS, "id": "7"}],
        datasets.Dataset.from_list([{"prompt": "q", **ANSWERS, "id": "7"}]),
    ):
        with pytest.raises(DataError) as caught:
            check_rows(rows, kind="preference", asked=Asked(column_map=column_map))
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"images": ["x.png"]},
            "column images is not read: it would change what is trained; this trains on text alone",
        ),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "column chat_template_kwargs is not read"),
        ({"thinking": "hm"}, "as reasoning_content; or leave it out with column_map: {thinking: null}"),
        ({"context": "the book"}, "column context is not read"),
        ({"history": [["a", "b"]]}, "can be read in two ways, row 0 as pairs"),
    ],
)
def test_a_column_that_would_change_the_tokens_is_read_or_refused(more, message):
    with pytest.raises(DataError) as caught:
        read({"prompt": "q", **ANSWERS, **more})
    assert message in str(caught.value)
    assert read({"prompt": "q", **ANSWERS, **more}, column_map={next(iter(more)): None})[1] == SINGLE


def test_a_column_that_repeats_what_is_read_is_listed():
    """UltraFeedback, binarized."""
    row = {"prompt": "q", "chosen": [ASK, GOOD], "rejected": [ASK, BAD], "messages": [ASK, GOOD], "score_chosen": 1.0}
    checked = check_rows([row], kind="preference")
    assert (checked.format, checked.unread) == ("pairs", ("messages", "score_chosen"))
    with pytest.raises(DataError, match="column messages is not read"):
        read({**row, "messages": [SYSTEM, ASK, GOOD]})


def test_two_readings_are_an_error_unless_they_agree():
    row = {"prompt": "q", "instruction": "else", **ANSWERS}
    with pytest.raises(DataError) as caught:
        read([{"prompt": "q", "instruction": "q", **ANSWERS}, row])
    told = str(caught.value)
    assert "can be read in two ways, row 1 as pairs (" in told
    assert "or instruction_pairs (instruction (and input), question or query" in told
    assert "state dataset_format: pairs or instruction_pairs, or leave out" in told
    assert "column_map: {instruction: null}" in told
    assert read(row, column_map={"instruction": None})[1] == SINGLE
    assert read({**row, "instruction": "q"})[0] == "pairs"


def test_rows_of_several_formats_are_an_error():
    rows = [{"prompt": "q", **ANSWERS}, {"instruction": "q", "chosen_response": "good", "rejected_response": "bad"}]
    with pytest.raises(DataError, match=r"rows of several formats: row 0 is pairs \(.*; row 1 is instruction_pairs"):
        read(rows)
    with pytest.raises(DataError, match="row 1 of the data is bad: missing column"):
        read(rows, dataset_format="pairs")


def test_a_format_that_does_not_fit():
    with pytest.raises(DataError, match="trasncript_pair is no format; did you mean transcript_pairs"):
        read({"prompt": "q", **ANSWERS}, dataset_format="trasncript_pair")
    with pytest.raises(DataError, match=r"has conversations \(alpaca: .*train on them with method: sft"):
        read({"instruction": "q", "output": "good"})
    with pytest.raises(DataError, match="row 0 of the data is bad: not a transcript: chosen begins with 'good'"):
        read({"prompt": "q", **ANSWERS}, dataset_format="transcript_pairs")


def test_a_recipe_states_the_format_for_all_or_for_one_source(tmp_path):
    orca = write_jsonl(tmp_path / "orca.jsonl", [{"question": "q", **ANSWERS}])
    own = write_jsonl(tmp_path / "own.jsonl", [{"asked": "q", **ANSWERS}])
    sources = (
        DatasetSource(id=str(orca)),
        DatasetSource(id=str(own), dataset_format="pairs", column_map={"asked": "prompt"}),
    )
    splits = load_dataset_splits(DataArguments(dataset_mixture=DatasetMixture(datasets=sources)), kind="preference")
    assert [facts.format for facts in splits.sources] == ["instruction_pairs", "pairs"]
    alone = load_dataset_splits(
        DataArguments(dataset_name=str(own), column_map={"asked": "question"}), kind="preference"
    )
    assert alone.sources[0].format == "instruction_pairs"
    assert alone.sources[0].fingerprint == splits.sources[0].fingerprint


def scored(scores, **more):
    return {"prompt": "q", "responses": ["good", "so", "bad"], "scores": scores, **more}


def test_prompts_without_a_pair_are_counted_and_no_fault():
    rows = [scored([3, 2, 1]), scored([1, 1, 1]), scored([3, 1, 2])]
    for given in (rows, datasets.Dataset.from_list(rows)):
        checked = check_rows(given, kind="preference")
        assert checked.dropped == {"no pair: no answer scores below the best": 1}
        assert [row["rejected"][0]["content"] for row in checked.dataset] == ["bad", "so"]
        assert checked.dataset["origin"][1]["row"] == 2


def test_selection_makes_several_pairs_and_must_have_an_effect(tmp_path):
    row = {"prompt": "q", "responses": ["a", "b", "c", "d"], "scores": [4, 3, 2, 1]}
    for rows in ([row], datasets.Dataset.from_list([row])):
        asked = Asked(selection=SelectionSettings(pairs_per_prompt=2))
        found = check_rows(rows, kind="preference", asked=asked).dataset
        assert [(r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in found] == [("a", "d"), ("b", "c")]
    made = {**scored([1, 2, 3]), "chosen": [ASK, GOOD], "rejected": [ASK, BAD]}
    file = write_jsonl(tmp_path / "made.jsonl", [made])
    data = DataArguments(dataset_name=str(file), selection=SelectionSettings(rule="best_random"))
    with pytest.raises(DataError, match=r"selection has no effect: train of .* is read as pairs"):
        load_dataset_splits(data, kind="preference")
    stated = replace(data, dataset_format="scored_answers")
    assert load_dataset_splits(stated, kind="preference").train[0]["chosen"][0]["content"] == "bad"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (scored([1, 2]), "as many scores as answers are needed: responses has 3, scores 2"),
        (scored([1, None, 2]), "not a number: scores[1] is None, not a finite number"),
        (scored([1, 10**400, 2]), "not a number: scores[1] is 1000"),
        (scored([1, True, 2]), "not a number: scores[1] is True"),
        ({**scored([1, 2, 3]), "responses": ["a", 7, "b"]}, "not an answer: responses[1] is a number, 7"),
        ({"prompt": "q", "response_a": "a", "response_b": "b", "winner": "c"}, "winner is 'c', not model_a, model_b"),
        ({"prompt": "q", "response_1": "a", "response_2": "b", "preference": 3}, "preference is 3, not 1 or 2"),
        ({"messages": [ASK, GOOD], "rejected_response": ["a", "b"]}, "not a text: rejected_response is a list"),
        ({"messages": TURNS, "rejected_response": "bad"}, "the last message of chosen is user, not assistant"),
        ({"conversations": [{"from": "human"}], **ANSWERS}, "message without content: conversations[0].value"),
        (
            {"conversations": SINGLE, "messages": TURNS, **ANSWERS},
            "conversations and messages differ; leave one out with column_map: {messages: null}",
        ),
    ],
)
def test_a_row_that_cannot_be_converted_is_named_with_field_and_value(row, message):
    with pytest.raises(DataError) as caught:
        read(row)
    assert "row 0 of the data is bad: " in str(caught.value)
    assert message in str(caught.value)


def test_a_row_unlike_those_that_were_recognized_is_a_fault_of_its_own():
    rows = [{"instruction": "q", "output": ["good", "bad"]}, {"instruction": "q", "output": ["a", "b"], "input": 3}]
    with pytest.raises(DataError, match="row 1 of the data is bad: not a text: input is a number, 3"):
        read(rows)
    with pytest.raises(DataError, match=r"row 1 of the data is bad: not two answers: output is \['a'\]"):
        read([rows[0], {"instruction": "q", "output": ["a"]}])


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ({"prompt": "q", "completion": "good", "label": True}, "preference", "unpaired rows, one answer with a label"),
        ({"instruction": "q", "output": "good", "kto_tag": "false"}, "preference", "unpaired rows"),
        ({"messages": [ASK, GOOD], "label": False}, "preference", "and use method: sft"),
        ({"messages": [ASK, GOOD], "label": False}, "conversation", "column label is not read: it says whether"),
        ({"prompt": "q", "response": "good", "helpfulness": 3}, "preference", "one graded answer a row"),
        ({"prompt": "q", "completions": ["a", "b"], "labels": [True, False]}, "preference", "steps of one answer"),
        ({"prompt": "q"}, "preference", "prompts without answers; make pairs"),
        ({"input_ids": [1, 2]}, "preference", "has token ids"),
        ({"messages": [ASK, {**GOOD, "weight": 0}, MORE, GOOD]}, "conversation", "messages[1].weight is 0, and every"),
        ({"messages": [ASK, {**GOOD, "loss": False}]}, "conversation", "column_map: {'messages[].loss': null}"),
    ],
)
def test_rows_without_two_answers_are_refused_with_what_to_do(row, kind, message):
    for rows in ([row], datasets.Dataset.from_list([row])):
        with pytest.raises(DataError) as caught:
            check_rows(rows, kind=kind)
        assert message in str(caught.value)


def test_rows_of_no_shape_are_told_by_the_columns_they_have():
    bad_call = [{"from": "human", "value": "q"}, {"from": "function_call", "value": "f(x)"}]
    with pytest.raises(DataError, match=r"function call as unreadable text: conversations\[1\] is no JSON: 'f\(x\)'"):
        read({"conversations": bad_call}, "conversation")
    with pytest.raises(DataError, match="not a text: input is a number, 3"):
        read({"instruction": "q", "output": ["a", "b"], "input": 3})
    with pytest.raises(DataError, match="has no column messages or completion or chosen; its columns are foo"):
        read({"foo": "q"}, "conversation")


def test_a_transcript_is_never_read_as_the_words_of_a_user():
    asked = "\n\nHuman: q\n\nAssistant:"
    for row, stated in (
        ({"prompt": asked, **ANSWERS}, "pairs"),
        ({"question": asked, **ANSWERS}, "instruction_pairs"),
        ({"prompt": asked, "completion": "good"}, "conversations"),
    ):
        with pytest.raises(DataError, match="prompt is a transcript: dataset_format: transcript"):
            read(row, FORMATS[stated].gives, dataset_format=stated)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "responses": ["good", "bad"], "scores": [2, 1]},
        {"prompt": "q", "answers": [{"answer": "bad", "rank": 2}, {"answer": "good", "rank": 1}]},
        {"instruction": "q", "output": ["good", "bad"]},
        {"messages": [ASK, GOOD], "rejected_messages": [ASK, BAD]},
    ],
)
def test_lists_in_a_table_of_text_are_their_json(row, tmp_path):
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow({key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()})
    train = load_dataset_splits(DataArguments(dataset_name=str(tmp_path / "rows.csv")), kind="preference").train
    assert [unpack(train[0][side]) for side in ("prompt", "chosen", "rejected")] == [[ASK], [GOOD], [BAD]]


def test_a_message_with_a_key_that_is_not_read_is_refused_by_name():
    for key, remedy in (("images", "this trains on text alone"), ("functions", "put them into a column tools")):
        with pytest.raises(DataError, match=f"{key} is not read: messages.0..{key}; {remedy}"):
            read({"messages": [{**ASK, key: ["x"]}, GOOD]}, "conversation")
        left_out = {f"messages[].{key}": None}
        assert read({"messages": [{**ASK, key: ["x"]}, GOOD]}, "conversation", column_map=left_out)[1] == [ASK, GOOD]


def test_a_prompt_beside_messages_repeats_them():
    row = {"messages": [ASK, GOOD], "prompt": "q"}
    assert read(row, "conversation") == ("conversations", [ASK, GOOD])
    with pytest.raises(DataError, match="column prompt is not read"):
        read({**row, "prompt": "else"}, "conversation")
    with pytest.raises(DataError, match="can be read in two ways, row 0 as conversations"):
        read({**row, "text": "q good"}, "conversation")
