"""The recipe keys `deduplicate` and `decontaminate`, from YAML to the rows that are trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

from alignment.data import load_dataset_splits, prepare_splits
from alignment.data.load import Splits
from alignment.data.token_rules import TokenRules
from alignment.errors import DataError, RecipeError
from alignment.recipe import load_recipe
from alignment.run.prepare_data import prepare

QUESTION = "Why do the tides come later every day, and why are they higher when the moon is full"


def pair(prompt: str, chosen: str = "Because of the moon.", rejected: str = "No idea.") -> dict[str, str]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


ROWS = [
    pair("Tell me something about the river."),
    pair(f"My child asks: {QUESTION}? Answer in one sentence."),  # holds the evaluation prompt
    pair("Name a stone."),
    pair("Tell me something about the river."),  # row 0 again
    pair("Tell me something about the river!"),  # row 0, but for one character
    pair("Tell me something about the river.", "Something else."),
]
EVALUATION = [{"instruction": "Unlike any other."}, {"instruction": QUESTION.upper() + "?"}]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    tiny.write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    tiny.write_jsonl(tmp_path / "eval.jsonl", EVALUATION)

    def write(**keys: Any) -> Path:
        stated = {"method": "simpo", "model_name_or_path": "me/model", "dataset_name": "pairs.jsonl", **keys}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(stated))
        return path

    return write


def loaded(path: Path, cache: Path | None = None) -> Splits:
    recipe = load_recipe(path)
    kind = "conversation" if recipe.method == "sft" else "preference"
    return load_dataset_splits(recipe.data, kind=kind, cache=cache)


def rows_of(splits: Splits) -> list[int]:
    return [origin["row"] for origin in splits.train["origin"]]


def test_nothing_is_looked_for_unless_the_recipe_asks(recipe) -> None:
    splits = loaded(recipe())
    assert (rows_of(splits), splits.cleaning) == ([0, 1, 2, 3, 4, 5], ())


def test_what_is_reported_stays_and_what_is_dropped_is_counted(recipe) -> None:
    asked = {"deduplicate": {"near": 0.9}, "decontaminate": {"against": ["eval.jsonl"]}}
    told = loaded(recipe(**asked))
    assert [(found.reason, list(found.rows)) for found in told.cleaning] == [
        ("exact duplicate", [3]),
        ("near duplicate", [4]),
        ("overlap with an evaluation prompt", [1]),
    ]
    assert rows_of(told) == [0, 1, 2, 3, 4, 5]

    dropped = loaded(recipe(**{key: {**value, "action": "drop"} for key, value in asked.items()}))
    assert rows_of(dropped) == [0, 2, 5]
    assert dropped.sources[0].rows == 3
    assert dropped.sources[0].dropped == {
        "exact duplicate": 1,
        "near duplicate": 1,
        "overlap with an evaluation prompt": 1,
    }
    assert dropped.fingerprints["train"] != told.fingerprints["train"]
    overlap = dropped.cleaning[2]
    assert overlap.examples == [
        {
            "row": "row 1 of train of pairs.jsonl (pairs.jsonl line 2)",
            "against": "row 1 of eval.jsonl",
            "text": QUESTION.lower().replace(",", ""),
            "rows": 1,
        }
    ]
    assert overlap.told().startswith("1 x overlap with an evaluation prompt, left out; row 1 of train of pairs.jsonl")


def test_rows_dropped_are_in_log_and_manifest(recipe, tmp_path: Path) -> None:
    splits = loaded(recipe(deduplicate={"action": "drop"}, decontaminate={"against": ["eval.jsonl"]}))
    rules = TokenRules(max_length=256, max_prompt_length=128)
    tokens = prepare_splits(splits, tiny.gemma_tokenizer(), rules, on_bad_row="error")
    assert len(tokens.train) == 5
    told = "\n".join(tokens.told)
    assert "train of pairs.jsonl: 6 rows, 1 dropped (1 x exact duplicate)" in told
    assert (
        "train: 1 x exact duplicate, left out; row 3 of train of pairs.jsonl (pairs.jsonl line 4) repeats row 0" in told
    )
    assert "train: 1 x overlap with an evaluation prompt, kept (action: report); row 1 of" in told


def test_make_data_writes_the_findings(recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNMENT_CACHE", str(tmp_path / "cache"))
    tiny.save_gemma2(tmp_path / "model")
    path = recipe(
        model_name_or_path=str(tmp_path / "model"),
        output_dir=str(tmp_path / "out"),
        decontaminate={"against": [{"id": "eval.jsonl", "column": "instruction"}], "action": "drop"},
    )
    prepare(load_recipe(path))
    data = json.loads((tmp_path / "out/data_manifest.json").read_text())["data"]
    (found,) = data["cleaning"]
    assert (data["rows"]["train"], found["rows"], found["action"]) == (5, 1, "drop")
    assert found["looked_for"]["against"] == [{"name": "eval.jsonl", "revision": None, "prompts": 2}]
    assert data["sources"][0]["dropped"] == {"overlap with an evaluation prompt": 1}


def test_an_error_names_rows_and_remedy(recipe) -> None:
    with pytest.raises(DataError) as refused:
        loaded(recipe(deduplicate={"near": 0.9, "action": "error"}, decontaminate={"against": "eval.jsonl"}))
    told = str(refused.value)
    assert "row 3 of train of pairs.jsonl (pairs.jsonl line 4) repeats row 0 of train of pairs.jsonl" in told
    assert (
        "hold 1 rows out of 6 that are refused: near duplicate; mend them, or leave them out with action: drop" in told
    )


def test_the_recipes_own_test_split_is_compared_with(recipe, tmp_path: Path) -> None:
    data = tmp_path / "data"
    tiny.write_jsonl(data / "train.jsonl", ROWS)
    tiny.write_jsonl(data / "test.jsonl", [pair("Name a stone?"), pair(QUESTION)])
    keys = {"dataset_name": "data", "eval_strategy": "epoch", "decontaminate": {"action": "drop"}}
    splits = loaded(recipe(**keys))
    assert rows_of(splits) == [0, 3, 4, 5] and len(splits.test) == 2
    assert splits.cleaning[0].looked_for["against"] == [{"name": "the test split", "revision": None, "prompts": 2}]
    assert "row 0 of the test split" in {
        example["against"].split(" of test")[0] for example in splits.cleaning[0].examples
    }


def test_conversations_are_compared_by_what_the_user_says(recipe, tmp_path: Path) -> None:
    def conversation(user: str, answer: str) -> dict[str, Any]:
        turns = (("user", user), ("assistant", answer))
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    rows = [
        conversation("Hello there, you", QUESTION),
        conversation(QUESTION, "Because."),
        conversation(QUESTION, "So."),
    ]
    tiny.write_jsonl(tmp_path / "pairs.jsonl", [*rows, rows[0]])
    asked = {"decontaminate": {"against": ["eval.jsonl"], "action": "drop"}, "deduplicate": {"action": "drop"}}
    assert rows_of(loaded(recipe(method="sft", **asked))) == [0]


SHAPES = [
    {"prompt": QUESTION},
    {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]},
    {"instruction": QUESTION, "output": "not looked at"},
    {"question": QUESTION},
    {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "…"}]},
    {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": "…"}]},
    {"turns": [QUESTION, "And then?"]},
    {"turns": [{"content": QUESTION}]},
    {"chosen": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "a"}], "rejected": []},
    {"prompt": json.dumps([{"role": "user", "content": QUESTION}])},
]


@pytest.mark.parametrize("row", SHAPES, ids=[f"{number}-{next(iter(row))}" for number, row in enumerate(SHAPES)])
def test_evaluation_prompts_are_read_in_the_shapes_they_have(recipe, tmp_path: Path, row: dict[str, Any]) -> None:
    tiny.write_jsonl(tmp_path / "eval.jsonl", [row])
    assert rows_of(loaded(recipe(decontaminate={"against": ["eval.jsonl"], "action": "drop"}))) == [0, 2, 3, 4, 5]


def test_a_slice_of_evaluation_prompts(recipe) -> None:
    source = {"id": "eval.jsonl", "split": "train[:1]"}
    splits = loaded(recipe(decontaminate={"against": [source]}))
    assert splits.cleaning[0].rows == [] and splits.cleaning[0].looked_for["against"][0]["prompts"] == 1


BAD_EVALUATION = [
    (
        [{"text": "x"}],
        {},
        "row 0 of eval.jsonl (eval.jsonl line 1) has no prompt to compare with: no prompt: its columns are text",
    ),
    (
        [{"prompt": "a b c d"}, {"prompt": " "}],
        {},
        "row 1 of eval.jsonl (eval.jsonl line 2) has no prompt to compare with: empty",
    ),
    ([{"question": "x"}], {"column": "qestion"}, "did you mean question?"),
    ([{"prompt": 7}], {}, "prompt is a number"),
]


@pytest.mark.parametrize(("rows", "keys", "message"), BAD_EVALUATION)
def test_evaluation_rows_without_a_prompt_are_named(recipe, tmp_path: Path, rows, keys, message: str) -> None:
    tiny.write_jsonl(tmp_path / "eval.jsonl", rows)
    with pytest.raises(DataError) as refused:
        loaded(recipe(decontaminate={"against": [{"id": "eval.jsonl", **keys}]}))
    assert message in str(refused.value)


def test_all_rows_dropped_is_an_error(recipe, tmp_path: Path) -> None:
    tiny.write_jsonl(tmp_path / "pairs.jsonl", [pair(QUESTION)])
    with pytest.raises(DataError, match="are all left out: 1 x overlap"):
        loaded(recipe(decontaminate={"against": ["eval.jsonl"], "action": "drop"}))


def test_findings_are_kept_and_found_anew_when_the_evaluation_prompts_change(recipe, tmp_path: Path) -> None:
    path, cache = recipe(decontaminate={"against": ["eval.jsonl"], "action": "drop"}), tmp_path / "cache"
    first = loaded(path, cache)
    kept = {file: file.stat().st_mtime_ns for file in (cache / "findings").rglob("seal.json")}
    assert loaded(path, cache).fingerprints == first.fingerprints and len(kept) == 1
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    tiny.write_jsonl(tmp_path / "eval.jsonl", [{"prompt": "Name a stone."}])
    changed = loaded(path, cache)
    assert rows_of(changed) == [0, 1, 3, 4, 5] and changed.fingerprints != first.fingerprints


FAULTS = [
    ({"decontaminate": {}}, "decontaminate.against names no evaluation prompts, and there is no test split"),
    ({"decontaminate": {"against": ["none.jsonl"]}}, "decontaminate.against[0] none.jsonl does not exist"),
    ({"decontaminate": {"against": [{"id": "none.jsonl"}]}}, "decontaminate.against[0].id none.jsonl does not exist"),
    ({"decontaminate": {"against": [{"split": "test"}]}}, "decontaminate.against[0].id must be stated"),
    ({"decontaminate": {"against": [["eval.jsonl"]]}}, "decontaminate.against[0]"),
    ({"decontaminate": {"agianst": ["eval.jsonl"]}}, "did you mean against?"),
    ({"decontaminate": {"against": ["eval.jsonl"], "ngram": 3}}, "decontaminate.ngram 3 must be at least 4"),
    ({"decontaminate": {"against": ["eval.jsonl"], "action": "remove"}}, "must be one of report, drop, error"),
    ({"deduplicate": {"near": 1.5}}, "deduplicate.near 1.5 must be at least 0.5 and at most 1"),
    ({"deduplicate": {"near": 0.2}}, "deduplicate.near 0.2 must be at least 0.5"),
    ({"deduplicate": {"exact": False}}, "deduplicate looks for nothing; set exact: true, or near: 0.9"),
    ({"deduplicate": True}, "deduplicate true must be a mapping"),
]


@pytest.mark.parametrize(("keys", "message"), FAULTS)
def test_sections_are_checked_with_the_recipe(recipe, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as refused:
        load_recipe(recipe(**keys))
    assert message in str(refused.value)
    assert len(refused.value.faults) == 1


def test_paths_are_found_from_the_recipe_and_overridden_on_the_command_line(recipe, tmp_path: Path) -> None:
    path = recipe(decontaminate={"against": ["eval.jsonl", {"id": "pairs.jsonl"}]})
    changed = load_recipe(path, ["--decontaminate.against", "pairs.jsonl", "--decontaminate.ngram", "8"])
    assert [source.id for source in changed.data.decontaminate.sources] == [str(tmp_path / "pairs.jsonl")]
    assert (changed.data.decontaminate.ngram, changed.data.decontaminate.action) == (8, "report")
