"""The data report: every number worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

from alignment.data.languages import UNDETERMINED, language_of, languages
from alignment.data.report import correlation, spread
from alignment.errors import DataError
from alignment.recipe import load_recipe
from alignment.run.inspect_data import inspect

LONG = "a much longer answer than the other one"


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


TRAIN = [
    pair("Why is the moon cold?", "abcd", "ab"),  # chosen longer by 2
    pair("Why is the moon cold?", "abcd", "ab"),  # a duplicate
    pair("Why is the moon cold?", "xy", "xyz"),  # the same prompt, chosen shorter by 1
    pair("When does the sun fall?", "one", "two"),  # equally long; its prompt is in the test split
    pair("A tree alone?", "same", "same"),  # no preference
]
TEST = [pair("When does the sun fall?", LONG, "no"), pair("Under the river?", "yes it is", "no")]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALIGNMENT_CACHE", str(tmp_path / "cache"))

    def write(train: list[dict] = TRAIN, test: list[dict] | None = TEST, **keys: Any):
        tiny.write_jsonl(tmp_path / "data/train.jsonl", train)
        if test is not None:
            tiny.write_jsonl(tmp_path / "data/test.jsonl", test)
        path = tmp_path / "recipe.yaml"
        stated = {"method": "simpo", "model_name_or_path": "nobody/here", "dataset_name": "data", **keys}
        path.write_text(yaml.safe_dump(stated))
        return load_recipe(path)

    return write


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.save_gemma2(tmp_path_factory.mktemp("model")))


def test_rows_are_counted(recipe) -> None:
    data = inspect(recipe())["data"]
    train, test = data["splits"]["train"], data["splits"]["test"]
    assert (train["rows"], train["exact_duplicates"]) == (4, 1)
    assert train["identical_prompts"] == {"prompts": 1, "rows": 3}
    assert test["identical_prompts"] == {"prompts": 0, "rows": 0}
    assert data["chosen_equals_rejected"] == 1
    assert data["sources"][0]["dropped"] == {"chosen identical to rejected": 1}
    assert data["train_test_overlap"] == {"train_rows": 1, "test_rows": 1}


def test_the_bias_of_length(recipe) -> None:
    bias = inspect(recipe(test=None))["data"]["splits"]["train"]["length_bias"]
    assert (bias["chosen_longer"], bias["rejected_longer"]) == (0.5, 0.25)
    assert (bias["mean_chosen"], bias["mean_rejected"]) == (13 / 4, 10 / 4)
    # Lengths 4 4 2 3 (chosen) and 2 2 3 3 (rejected): mean 23/8, deviations summed with +-1/2, over all squares.
    lengths, preferred = [4, 4, 2, 3, 2, 2, 3, 3], [0.5] * 4 + [-0.5] * 4
    mean = sum(lengths) / 8
    covariance = sum((length - mean) * label for length, label in zip(lengths, preferred, strict=True))
    expected = covariance / math.sqrt(sum((length - mean) ** 2 for length in lengths) * 2)
    assert bias["preference_correlation"] == pytest.approx(expected)
    assert (bias["scored_rows"], bias["score_correlation"]) == (0, None)


SCORED = {
    "sides": lambda row, better, worse: {**row, "score_chosen": better, "score_rejected": worse},
    "ratings": lambda row, better, worse: {**row, "chosen-rating": better, "rejected-rating": worse},
    "lists": lambda row, better, worse: {
        **row,
        "all_generated_responses": ["unused", row["rejected"], row["chosen"]],
        "all_rm_scores": [0.0, worse, better],
    },
}


@pytest.mark.parametrize("kind", SCORED)
def test_length_against_scores(recipe, kind: str) -> None:
    judged = [(5.0, 1.0), (4.0, 3.0), (2.0, 1.5)]
    rows = [pair(f"Number {n}?", "w" * (10 + 4 * n), "w" * 8) for n in range(3)]
    scored = [SCORED[kind](row, *scores) for row, scores in zip(rows, judged, strict=True)]
    bias = inspect(recipe(train=scored, test=None))["data"]["splits"]["train"]["length_bias"]
    # Differences in length 2, 6, 10 and in score 4, 1, 0.5: deviations -4 0 4 and 13/6 -5/6 -4/3.
    expected = (-4 * 13 / 6 - 4 * 4 / 3) / math.sqrt(32 * ((13 / 6) ** 2 + (5 / 6) ** 2 + (4 / 3) ** 2))
    assert bias["scored_rows"] == 3
    assert bias["score_correlation"] == pytest.approx(expected)


def test_tokens_are_counted_by_each_rule(recipe, model: str) -> None:
    short, long = "Why is it so?", " ".join(["stone"] * 200)
    rows = [
        pair(short, "Because.", "No."),
        pair(long, "Because.", "No."),
        pair(short, long, "No."),
        pair(long, long, "No."),
    ]
    keys = {"model_name_or_path": model, "max_length": 128, "max_prompt_length": 64}
    found = inspect(recipe(train=rows, test=None, **keys))
    tokens = found["tokens"]["train"]
    assert (tokens["rows"], tokens["of"]) == (4, 4)
    # The reference's rule cuts both completions of a pair to 64 tokens; the short ones are shorter than that.
    assert tokens["cut"] == {"prompt": 2, "chosen": 2, "rejected": 0}
    assert tokens["end_lost"] == {"chosen": 2, "rejected": 0}
    assert tokens["no_end"] == tokens["prompt_fills_max_length"] == 0
    assert found["pair"]["row"].startswith("row 1 of train of "), "the first that is cut"


def test_without_a_tokenizer_it_says_so(recipe) -> None:
    found = inspect(recipe())
    assert found["tokens"] is None and found["pair"] is None
    assert "not on this machine, and nothing is downloaded here" in found["tokens_missing"]
    assert found["data"]["splits"]["train"]["rows"] == 4


def test_conversations_have_no_bias_and_their_overlap_is_what_the_user_says(recipe, model: str) -> None:
    def conversation(*turns: str) -> dict[str, Any]:
        roles = ("user", "assistant") * len(turns)
        return {"messages": [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=False)]}

    train = [conversation("Hello?", "One."), conversation("Hello?", "Two."), conversation("So?", "A.", "And?", "B.")]
    found = inspect(recipe(train, [conversation("Hello?", "Three.")], method="sft", model_name_or_path=model))
    data = found["data"]
    assert data["chosen_equals_rejected"] is data["splits"]["train"]["length_bias"] is None
    assert data["splits"]["train"]["identical_prompts"] == {"prompts": 1, "rows": 2}
    assert data["train_test_overlap"] == {"train_rows": 2, "test_rows": 1}
    (part,) = found["pair"]["parts"]
    scored = "".join(piece["text"] for piece in part["pieces"] if piece["scored"])
    assert "One." in scored and "Hello" not in scored


def test_findings_are_reported_whatever_training_does_about_them(recipe) -> None:
    asked = {"deduplicate": {"action": "error"}, "decontaminate": {"action": "drop"}, "eval_strategy": "epoch"}
    data = inspect(recipe(**asked))["data"]
    assert [(found["reason"], found["rows"]) for found in data["cleaning"]] == [
        ("exact duplicate", 1),
        ("overlap with an evaluation prompt", 1),
    ]
    assert data["splits"]["train"]["rows"] == 4


def test_evaluation_prompts_that_are_not_at_hand_are_told(recipe) -> None:
    data = inspect(recipe(decontaminate={"against": ["nobody/evaluation"]}))["data"]
    assert data["cleaning"] == [] and "not on this machine" in data["cleaning_missing"]


def test_a_test_split_that_is_stated_and_not_evaluated_on_is_looked_at_if_it_is_there(recipe) -> None:
    stated = {"dataset_test_split": "test", "eval_strategy": "no"}
    assert inspect(recipe(**stated))["data"]["splits"]["test"]["rows"] == 2
    (recipe(**stated).path.parent / "data/test.jsonl").unlink()
    assert list(inspect(recipe(test=None, **stated))["data"]["splits"]) == ["train"]


def test_one_row(recipe) -> None:
    split = inspect(recipe(train=TRAIN[:1], test=None))["data"]["splits"]["train"]
    assert split["length_bias"]["preference_correlation"] == pytest.approx(1)
    assert (split["exact_duplicates"], split["identical_prompts"]["rows"]) == (0, 0)


def test_data_that_training_could_not_read_is_an_error(recipe) -> None:
    with pytest.raises(DataError, match=r"row 0 of train of .*data .* is bad: chosen identical"):
        inspect(recipe(train=TRAIN[4:], test=None))


def test_correlation_of_what_does_not_vary_is_not_said() -> None:
    import numpy as np

    assert correlation(np.array([1, 1, 1]), np.array([1, 2, 3])) is None
    assert correlation(np.array([1]), np.array([2])) is None
    assert correlation(np.array([1, 2, 3]), np.array([2, 4, 6])) == pytest.approx(1)


@pytest.mark.parametrize(
    ("count", "most", "rows"), [(0, 3, []), (3, 3, [0, 1, 2]), (7, 3, [0, 3, 6]), (9, 4, [0, 3, 6])]
)
def test_a_sample_is_spread_evenly(count: int, most: int, rows: list[int]) -> None:
    assert list(spread(count, most)) == rows


LANGUAGES = [
    ("The committee will meet again on Thursday to discuss the budget.", "en"),
    ("Der Ausschuss trifft sich am Donnerstag wieder, um den Haushalt zu besprechen.", "de"),
    ("委员会将于星期四再次开会讨论预算问题", "zh"),
    ("委員会は木曜日に再び会合を開き、予算について話し合う。", "ja"),
    ("Hi!", UNDETERMINED),
    ("1 + 1 = 2", UNDETERMINED),
    ("", UNDETERMINED),
]


@pytest.mark.parametrize(("text", "language"), LANGUAGES)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


def test_languages_are_counted_most_frequent_first() -> None:
    assert languages([LANGUAGES[1][0], LANGUAGES[0][0], LANGUAGES[0][0], "?"]) == {"en": 2, "de": 1, UNDETERMINED: 1}
