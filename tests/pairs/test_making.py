"""A data set of pairs from a recipe: whole, resumed, changed, and refused, in this process."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import yaml
from tiny import write_jsonl

from alignment.data.load import load_dataset_splits
from alignment.data.selection import select_pairs
from alignment.errors import UserError
from alignment.pairs.workers import Worker
from alignment.recipe import DataArguments
from alignment.run.make_pairs import make_pairs

COLUMNS = ["prompt_id", "prompt", "all_generated_responses", "all_rm_scores", "chosen", "rejected"]


def test_the_data_set_is_what_prompts_answers_and_scores_make(place):
    made = make_pairs(place.recipe())
    train, test = place.rows("train"), place.rows("test")
    assert made.rows == {"train": len(train), "test": len(test)} and len(test) == 3
    assert pq.read_schema(place.output / "data/train-00000-of-00001.parquet").names == COLUMNS
    assert not {row["prompt_id"] for row in train} & {row["prompt_id"] for row in test}
    assert [row["prompt"] for row in train] == sorted(row["prompt"] for row in train)
    settings = place.recipe().settings.selection
    for row in train + test:
        texts, scores = row["all_generated_responses"], row["all_rm_scores"]
        assert len(texts) == 3 and scores == [float(sum(map(ord, text)) % 101) for text in texts]
        ((chosen, rejected),) = select_pairs(texts, scores, settings, key=row["prompt_id"]).pairs
        question = {"role": "user", "content": row["prompt"]}
        assert row["chosen"] == [question, {"role": "assistant", "content": texts[chosen]}]
        assert row["rejected"] == [question, {"role": "assistant", "content": texts[rejected]}]
        assert scores[chosen] == max(scores) and scores[rejected] == min(scores)


def test_it_is_read_as_the_data_of_a_training_recipe_and_by_datasets(place):
    import datasets

    made = make_pairs(place.recipe())
    splits = load_dataset_splits(
        DataArguments(dataset_name=str(place.output), dataset_test_split="test"), kind="preference"
    )
    assert (len(splits.train), len(splits.test)) == (made.rows["train"], made.rows["test"])
    loaded = datasets.load_dataset(str(place.output))
    assert {name: len(split) for name, split in loaded.items()} == made.rows


def test_card_manifest_and_picture_say_what_was_made(place):
    made = make_pairs(place.recipe("--license", "mit"))
    manifest = json.loads((place.output / "pairs_manifest.json").read_text())
    assert manifest["rows"] == made.rows and manifest["recipe"]["license"] == "mit"
    assert manifest["prompts"]["prompts"] == 12 and manifest["statistics"]["before"]["answers"] == 36
    chosen = [draw["chosen"] for draw in manifest["statistics"]["draws"]]
    assert sum(chosen) == manifest["statistics"]["after"]["pairs"] == sum(made.rows.values())
    assert str(place.folder) not in json.dumps(manifest)
    card = (place.output / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "mit"
    assert head["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*"},
        {"split": "test", "path": "data/test-*"},
    ]
    assert "| seed 8 |" in card and str(place.folder) not in card
    assert (place.output / "pairs.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_draws_and_scores_nothing_and_leaves_every_file_alone(place):
    make_pairs(place.recipe())
    before = {path: path.stat().st_mtime_ns for path in place.output.glob("data/*")}
    scored = place.scored()
    make_pairs(place.recipe())
    assert place.scored() == scored
    assert {path: path.stat().st_mtime_ns for path in place.output.glob("data/*")} == before


def test_what_is_lost_is_made_again_to_the_byte_and_nothing_else(place):
    make_pairs(place.recipe())
    data = {path.name: path.read_bytes() for path in place.output.glob("data/*")}
    (path,) = place.parts("answers")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # within a line
    (scores,) = place.parts("scores")
    scores.write_bytes(scores.read_bytes()[:-5])
    (place.output / "pairs_manifest.json").unlink()
    (place.output / "data/train-00000-of-00001.parquet").write_bytes(b"half")
    make_pairs(place.recipe())
    assert {path.name: path.read_bytes() for path in place.output.glob("data/*")} == data
    assert len(place.scored()) == 36 + 1
    assert len(place.lines("answers")) == len(place.lines("scores")) == 36


def test_workers_share_the_prompts_and_the_first_puts_the_data_set_together(place, monkeypatch):
    make_pairs(place.recipe())
    data = {path.name: path.read_bytes() for path in place.output.glob("data/*")}
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        made = make_pairs(place.recipe(output="shared"))
        assert (made is None) == (rank == "1")
    assert {path.name: path.read_bytes() for path in (place.folder / "shared").glob("data/*")} == data
    parts = place.parts("answers", "shared")
    assert [len(part.read_text().splitlines()) for part in parts] == [18, 18]


def test_more_prompts_and_seeds_keep_what_is_there(place):
    make_pairs(place.recipe("--prompts.max_rows", "6"))
    assert len(place.lines("answers")) == 18
    first = set(place.lines("answers"))
    make_pairs(place.recipe("--generation.seeds", "5", "3", "8", "13"))
    assert first < set(place.lines("answers")) and len(place.lines("answers")) == 48
    assert len(place.scored()) == 48
    assert len(place.rows("train")[0]["all_generated_responses"]) == 4


def test_another_selection_needs_no_new_answer(place):
    make_pairs(place.recipe())
    pairs = place.rows("train")
    make_pairs(place.recipe("--selection.min_margin", "40", "--test_size", "null"))
    assert len(place.scored()) == 36 and not (place.output / "data/test-00000-of-00001.parquet").exists()
    assert place.rows("train") != pairs


def test_changed_settings_of_answers_are_named_and_nothing_is_thrown_away(place):
    make_pairs(place.recipe())
    kept = place.lines("answers")
    with pytest.raises(UserError) as caught:
        make_pairs(place.recipe("--generation.temperature", "0.9", "--generation.max_new_tokens", "8"))
    told = {fault.key: str(fault) for fault in caught.value.faults}
    assert set(told) == {"generation.temperature", "generation.max_new_tokens"}
    assert "was 1.0 when the 36 answers" in told["generation.temperature"]
    make_pairs(place.recipe("--generation.temperature", "0.9", "--overwrite_output_dir", "true"))
    assert len(place.lines("answers")) == 72 and set(kept) < set(place.lines("answers"))
    make_pairs(place.recipe())  # restored: found again
    assert len(place.lines("answers")) == 72 and len(place.scored()) == 72


def test_changed_weights_or_scorer_are_changed_settings(place):
    make_pairs(place.recipe())
    (scorer,) = place.folder.glob("scorer_*.py")
    scorer.write_text(scorer.read_text() + "\n# other")
    with pytest.raises(UserError, match=r"content of scorer\.name"):
        make_pairs(place.recipe())


def test_how_fast_answers_are_drawn_is_no_changed_setting(place):
    make_pairs(place.recipe())
    make_pairs(place.recipe("--generation.tokens_per_batch", "500", "--scorer.batch_size", "9"))
    assert len(place.scored()) == 36


def test_a_score_that_is_no_number_is_one_fault_that_names_the_prompt_and_loses_nothing(place, monkeypatch):
    monkeypatch.setenv("NAN_AT", "7")
    with pytest.raises(UserError) as caught:
        make_pairs(place.recipe())
    (fault,) = caught.value.faults
    assert fault.key.startswith("answer ") and "is no finite number" in fault.rule
    assert len(place.lines("answers")) == 36 and len(place.lines("scores")) == 4
    monkeypatch.delenv("NAN_AT")
    make_pairs(place.recipe())
    assert len(place.lines("scores")) == 36


def test_a_folder_that_is_being_written_is_refused(place):
    place.output.mkdir()
    with Worker().lock(place.output), pytest.raises(UserError, match="being written by another process"):
        make_pairs(place.recipe())


def test_no_pair_left_says_why_and_a_looser_rule_takes_what_is_there(place):
    with pytest.raises(UserError, match=r"leaves no pair of 12 prompts \(12 x no answer as far below"):
        make_pairs(place.recipe("--selection.min_margin", "1000"))
    make_pairs(place.recipe())
    assert len(place.scored()) == 36


def test_a_test_split_of_all_prompts_is_refused(place):
    with pytest.raises(UserError, match="takes 12 prompts for the test split"):
        make_pairs(place.recipe("--test_size", "12"))


def test_system_messages_are_asked_and_not_shown(place):
    made = make_pairs(place.recipe('--prompts.system_messages=[null, "the moon."]', "--chat_template", "chatml"))
    assert made.statistics["before"]["answers"] == 72
    assert {len(row["all_generated_responses"]) for row in place.rows("train")} == {6}
    assert {message["role"] for row in place.rows("train") for message in row["chosen"]} == {"user", "assistant"}
    assert not any("the moon." in line for line in place.scored())


def test_prompts_that_are_conversations_stay_conversations(place):
    opening = [{"role": "user", "content": "the sun"}, {"role": "assistant", "content": "shines"}]
    conversations = [{"messages": [*opening, {"role": "user", "content": f"moon {at}"}]} for at in range(4)]
    write_jsonl(place.folder / "prompts.jsonl", conversations)
    make_pairs(place.recipe("--test_size", "1"))
    for row in place.rows("train"):
        assert row["prompt"][:2] == opening and row["chosen"][:3] == row["prompt"] and len(row["chosen"]) == 4
    splits = load_dataset_splits(DataArguments(dataset_name=str(place.output)), kind="preference")
    assert len(splits.train[0]["prompt"]) == 3


def test_a_card_edited_by_hand_is_kept(place, capsys):
    make_pairs(place.recipe())
    card = place.output / "README.md"
    card.write_text(card.read_text().replace("# made", "# My pairs"))
    make_pairs(place.recipe("--selection.min_margin", "2"))
    assert "# My pairs" in card.read_text() and "edited by hand" in capsys.readouterr().out
