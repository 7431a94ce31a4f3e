"""Files, folders and mixtures; every fault of the data is one message that names the place."""

from __future__ import annotations

import json

import datasets
import pytest
from tiny import preference_rows, write_jsonl

from alignment.data import load_dataset_splits
from alignment.data.messages import unpack
from alignment.errors import DataError
from alignment.recipe.schema import DataArguments, DatasetMixture, DatasetSource

ROWS = preference_rows(20)


def load(name=None, *, kind="preference", **settings):
    return load_dataset_splits(DataArguments(dataset_name=name and str(name), **settings), kind=kind)


def answers(dataset):
    return [row["chosen"][0]["content"] for row in dataset]


WRITTEN = [row["chosen"][-1]["content"] for row in ROWS]


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(rows).to_parquet(str(path))
    return path


def save_to_disk(path):
    datasets.DatasetDict(
        train=datasets.Dataset.from_list(ROWS), test=datasets.Dataset.from_list(ROWS[:3])
    ).save_to_disk(str(path))


def jsonl_folder(path):
    write_jsonl(path / "train.jsonl", ROWS)
    write_jsonl(path / "test.jsonl", ROWS[:3])


def json_arrays(path):
    path.mkdir()
    (path / "train.json").write_text(json.dumps(ROWS, indent=1))
    (path / "test.json").write_text("\ufeff" + json.dumps(ROWS[:3]), encoding="utf-8")


def shards(path):
    parquet(path / "data" / "train-00000-of-00002.parquet", ROWS[:12])
    parquet(path / "data" / "train-00001-of-00002.parquet", ROWS[12:])
    parquet(path / "data" / "test-00000-of-00001.parquet", ROWS[:3])


def subfolders(path):
    parquet(path / "train" / "a.parquet", ROWS)
    parquet(path / "test" / "a.parquet", ROWS[:3])


@pytest.mark.parametrize("write", [save_to_disk, jsonl_folder, json_arrays, shards, subfolders])
def test_a_folder_keeps_splits_and_row_order(tmp_path, write):
    write(tmp_path / "pairs")
    splits = load(tmp_path / "pairs", dataset_test_split="test")
    assert answers(splits.train) == WRITTEN
    assert answers(splits.test) == WRITTEN[:3]
    assert splits.train.column_names == ["prompt", "chosen", "rejected", "tools", "origin"]
    assert unpack(splits.train[0]["prompt"]) == ROWS[0]["chosen"][:1]


def test_one_content_has_one_fingerprint_whatever_the_file(tmp_path):
    files = [write_jsonl(tmp_path / "a.jsonl", ROWS), parquet(tmp_path / "b.parquet", ROWS)]
    prints = {load(file).sources[0].fingerprint for file in files}
    assert len(prints) == 1
    changed = write_jsonl(tmp_path / "c.jsonl", [*ROWS[:-1], ROWS[0]])
    assert load(changed).sources[0].fingerprint not in prints


def test_a_file_named_after_no_split_is_training_data(tmp_path):
    write_jsonl(tmp_path / "pairs" / "mine.jsonl", ROWS)
    assert len(load(tmp_path / "pairs").train) == 20


def test_a_config_is_a_subfolder(tmp_path):
    write_jsonl(tmp_path / "pairs" / "short" / "train.jsonl", ROWS[:4])
    assert len(load(tmp_path / "pairs", dataset_config="short").train) == 4
    with pytest.raises(DataError, match=r"no config .* shrt; did you mean short"):
        load(tmp_path / "pairs", dataset_config="shrt")


def test_the_first_samples(tmp_path):
    jsonl_folder(tmp_path)
    splits = load(tmp_path, dataset_test_split="test", max_train_samples=7, max_eval_samples=2)
    assert answers(splits.train) == WRITTEN[:7]
    assert answers(splits.test) == WRITTEN[:2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "pears.jsonl"}, "does not exist; did you mean pairs.jsonl"),
        ({"name": "no/such/folder"}, "does not exist"),
        ({"name": "folder", "dataset_train_split": "trian"}, "has no split trian; did you mean train"),
        ({"name": "folder", "dataset_test_split": "validation"}, "has no split validation; its splits are train"),
        ({"name": "pairs.jsonl", "dataset_test_split": "test"}, "has no split test; its splits are train"),
        ({"name": "pairs.jsonl", "dataset_revision": "v1"}, "is local, so it has no revision v1"),
        ({"name": "empty.jsonl"}, "has no rows"),
        ({"name": "void"}, "holds no .json"),
        ({"name": "pairs.csv"}, "has no rows"),
        ({"name": "pairs.xlsx"}, "is not one of .json"),
        ({"name": "broken.parquet"}, "broken.parquet cannot be read"),
        ({"name": "broken.json"}, "broken.json cannot be read: row 0: Expecting"),
        ({"name": "both"}, "both as JSON and as Parquet"),
        ({"name": "columns.jsonl"}, r"no column chosen; did you mean chosn\?"),
    ],
)
def test_faults_of_place_and_form(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    write_jsonl(tmp_path / "folder" / "train.jsonl", ROWS)
    write_jsonl(tmp_path / "both" / "train.jsonl", ROWS)
    parquet(tmp_path / "both" / "train.parquet", ROWS)
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (tmp_path / "void").mkdir()
    (tmp_path / "pairs.csv").write_text("a,b\n")
    (tmp_path / "pairs.xlsx").write_text("a")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "broken.json").write_text('[\n{"chosen": }]')
    write_jsonl(tmp_path / "columns.jsonl", [{"chosn": [], "rejected": []}])
    with pytest.raises(DataError, match=message):
        load(**settings)


def with_bad_rows():
    """Row 3 has another type than the rest, row 8 a number as content, row 12 no answer; line 16 is no JSON."""
    rows = [dict(row) for row in ROWS]
    rows[3]["chosen"] = "text"
    rows[8]["rejected"] = [ROWS[8]["rejected"][0], {"role": "assistant", "content": 17}]
    rows[12]["chosen"] = [ROWS[12]["chosen"][0], {"role": "assistant", "content": " "}]
    lines = [json.dumps(row) for row in rows]
    lines[15] = '{"chosen": ['
    return "\n".join(lines)


def test_bad_rows_stop_the_run_and_are_named(tmp_path):
    (tmp_path / "pairs.jsonl").write_text(with_bad_rows())
    with pytest.raises(DataError) as caught:
        load(tmp_path / "pairs.jsonl")
    *listed, total = map(str, caught.value.faults)
    assert [fault.split(" ")[1] for fault in listed] == ["3", "8", "12", "15"]
    assert "line 16" in listed[3]
    assert "malformed JSON" in listed[3]
    assert "rejected[1].content is a number" in listed[1]
    assert "4 bad rows out of 20" in total
    assert "on_bad_row: drop" in total


def test_bad_rows_dropped_are_counted_by_reason(tmp_path):
    (tmp_path / "pairs.jsonl").write_text(with_bad_rows())
    splits = load(tmp_path / "pairs.jsonl", on_bad_row="drop")
    assert answers(splits.train) == [text for index, text in enumerate(WRITTEN) if index not in (3, 8, 12, 15)]
    (facts,) = splits.sources
    assert facts.rows == 16
    assert facts.dropped == {
        "chosen and rejected of different types": 1,
        "non-string content": 1,
        "empty completion": 1,
        "malformed JSON": 1,
    }


def test_typed_files_are_checked_alike(tmp_path):
    rows = [dict(row) for row in ROWS]
    rows[2]["rejected"] = rows[2]["chosen"]
    rows[4]["chosen"] = None
    for row in rows[10:]:
        row["rejected"] = row["chosen"]
    file = parquet(tmp_path / "pairs.parquet", rows)
    with pytest.raises(DataError) as caught:
        load(file)
    assert len(caught.value.faults) == 5 + 1  # the first five, and the count
    assert "row 4 of train" in str(caught.value)
    assert "12 bad rows out of 20 (11 x chosen identical to rejected, 1 x null value)" in str(caught.value)
    dropped = load(file, on_bad_row="drop")
    assert answers(dropped.train) == [WRITTEN[index] for index in (0, 1, 3, 5, 6, 7, 8, 9)]


def test_nothing_left_after_dropping_is_an_error(tmp_path):
    same = [{**row, "rejected": row["chosen"]} for row in ROWS]
    with pytest.raises(DataError, match="no good row among 20"):
        load(write_jsonl(tmp_path / "same.jsonl", same), on_bad_row="drop")


def mixture(*sources, **settings):
    return load(dataset_mixture=DatasetMixture(datasets=sources, **settings))


def test_a_mixture_is_what_the_same_calls_of_datasets_give(tmp_path):
    first, second = (
        write_jsonl(tmp_path / "a.jsonl", ROWS),
        write_jsonl(tmp_path / "b.jsonl", preference_rows(9, seed=1)),
    )
    splits = mixture(
        DatasetSource(id=str(first), weight=0.5), DatasetSource(id=str(second)), seed=3, test_split_size=0.2
    )
    parts = [load(first).train.shuffle(seed=3).select(range(10)), load(second).train.shuffle(seed=3)]
    expected = datasets.concatenate_datasets(parts).shuffle(seed=3).train_test_split(test_size=0.2, seed=3)
    assert answers(splits.train) == answers(expected["train"])
    assert answers(splits.test) == answers(expected["test"])
    assert [(facts.rows, facts.weight) for facts in splits.sources] == [(20, 0.5), (9, 1.0)]
    assert not set(answers(splits.train)) & set(answers(splits.test))


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ({"weight": 0.01}, {}, "0.01 keeps none of its 20 rows"),
        ({"columns": ("chosen", "rejcted")}, {}, "rejcted does not exist; did you mean rejected"),
        ({"columns": ("prompt", "chosen")}, {}, "has no column rejected"),
        ({"split": "test"}, {}, "has no split test"),
        ({}, {"test_split_size": 20}, "cannot be taken from 20 rows"),
    ],
)
def test_faults_of_a_mixture(tmp_path, source, settings, message):
    file = write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    with pytest.raises(DataError, match=message):
        mixture(DatasetSource(id=str(file), **source), **settings)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("train[:80%]", WRITTEN[:16]),
        ("train[80%:]", WRITTEN[16:]),
        ("train[:7%]", WRITTEN[:1]),
        ("train[3:5]", WRITTEN[3:5]),
        ("train[-2:]", WRITTEN[-2:]),
        ("train[:]", WRITTEN),
    ],
)
@pytest.mark.parametrize("make", [jsonl_folder, shards, save_to_disk])
def test_a_slice_of_a_split(tmp_path, make, spec, expected):
    make(tmp_path / "rows")
    splits = load(tmp_path / "rows", dataset_train_split=spec)
    assert answers(splits.train) == expected
    assert (splits.sources[0].split, splits.sources[0].rows) == (spec, len(expected))


def test_a_split_cut_in_two(tmp_path):
    file = write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    splits = load(file, dataset_train_split="train[:80%]", dataset_test_split="train[80%:]")
    assert answers(splits.train) + answers(splits.test) == WRITTEN


def test_a_bad_row_of_a_slice_is_named_by_its_line(tmp_path):
    file = write_jsonl(tmp_path / "pairs.jsonl", [*ROWS[:3], {"chosen": "x"}])
    with pytest.raises(DataError, match=r"row 1 of train\[2:\] of .*\(pairs.jsonl line 4\) is bad: missing column"):
        load(file, dataset_train_split="train[2:]")


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("train[:80%]", "train[60%:]", "dataset_test_split train.60%:. shares 4 rows with the split train.:80%."),
        ("train[:15]", "train[-6:]", "shares 1 rows"),
        ("train[:2%]", None, "split train.:2%. holds none of the 20 rows of train; widen the slice"),
        ("train[:95%", None, "split train.:95% is no split, and no slice of one"),
        ("train[a:b]", None, "is no split, and no slice of one"),
        ("train[:5]+train[7:]", None, "several splits are several datasets of a mixture"),
    ],
)
def test_slices_that_cannot_be(tmp_path, train, test, message):
    file = write_jsonl(tmp_path / "pairs.jsonl", ROWS)
    with pytest.raises(DataError, match=message):
        load(file, dataset_train_split=train, dataset_test_split=test)
