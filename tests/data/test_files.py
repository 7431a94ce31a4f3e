"""Files of every kind: read, or named in an error; none left out in silence."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tracemalloc

import datasets
import pyarrow
import pytest
from tiny import preference_rows, write_jsonl

from alignment.data import load_dataset_splits, readers
from alignment.errors import DataError
from alignment.recipe.schema import DataArguments

ROWS = preference_rows(6)
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
SIDES = ("chosen", "rejected")
WRITTEN = [row["chosen"][-1]["content"] for row in ROWS]


def load(path, **settings):
    return load_dataset_splits(DataArguments(dataset_name=str(path), **settings), kind="preference")


def answers(dataset):
    return [row["chosen"][0]["content"] for row in dataset]


def zstandard(content):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def table(delimiter=","):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["prompt", "chosen", "rejected"])
    writer.writerows([row["chosen"][0]["content"], *(row[side][-1]["content"] for side in SIDES)] for row in ROWS)
    return text.getvalue().encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train-00001-of-00002.jsonl.gz", gzip.compress(LINES, mtime=0)),
        ("train-00001-of-00002.jsonl.zst", zstandard(LINES)),
        ("train-00001-of-00002.jsonl.bz2", bz2.compress(LINES)),
        ("train-00001-of-00002.JSONL", LINES),
        ("train-00001-of-00002.jsonl", gzip.compress(LINES, mtime=0)),
        ("train-00001-of-00002.json.xz", lzma.compress(json.dumps(ROWS).encode())),
        ("train-00001-of-00002.csv", b"\xef\xbb\xbf" + table()),
        ("train-00001-of-00002.tsv.gz", gzip.compress(table("\t"), mtime=0)),
    ],
)
def test_shards_of_any_readable_kind_make_one_split(tmp_path, name, content):
    (tmp_path / "train-00000-of-00002.jsonl").write_bytes(LINES)
    (tmp_path / name).write_bytes(content)
    splits = load(tmp_path)
    assert answers(splits.train) == WRITTEN * 2
    assert splits.sources[0].files == {"train-00000-of-00002.jsonl": 6, name: 6}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train_extra.jsonl", LINES, "train_extra.jsonl does not belong to split train"),
        ("part2.csv", table(), "part2.csv does not belong to split train"),
        ("trian-00001.jsonl", LINES, "trian-00001.jsonl does not belong to split train"),
        ("_part.jsonl", LINES, "_part.jsonl does not belong to split train"),
        ("train.txt", LINES, "train.txt is not one of"),
        ("train.jsonl.bak", LINES, "train.jsonl.bak is not one of"),
        ("train.jsonl.zip", LINES, "train.jsonl.zip is not one of"),
        ("train-2", LINES, "train-2 is not one of"),
        ("train.jsonl.gz", gzip.compress(LINES, mtime=0), "holds train twice: train.jsonl and train.jsonl.gz"),
        ("train-00000-of-00003.jsonl", LINES, "holds 1 of 3 shards of train; the first that is missing is number 1"),
        ("train-00000-of-00001.jsonl", b"", "train-00000-of-00001.jsonl has no rows; fetch it again"),
        (
            "train-00000-of-00001.jsonl.gz",
            gzip.compress(LINES, mtime=0)[:-20],
            "cannot be read: Compressed file ended before",
        ),
        ("train-00000-of-00001.jsonl.zst", zstandard(LINES)[:-20], "jsonl.zst cannot be read"),
    ],
)
def test_a_file_beside_the_others_is_named_when_it_is_not_read(tmp_path, name, content, message):
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_link_to_nothing_is_named(tmp_path):
    write_jsonl(tmp_path / "train-00000-of-00002.jsonl", ROWS)
    (tmp_path / ".#lock").symlink_to("nobody")
    (tmp_path / "train-00001-of-00002.jsonl").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"train-00001-of-00002.jsonl is a link to nothing"):
        load(tmp_path)


def test_documents_and_settings_beside_rows_are_no_rows(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    for name in ("README.md", ".gitattributes", "LICENSE", "curve.png", "recipe.yaml", "_SUCCESS"):
        (tmp_path / name).write_text("no rows")
    (tmp_path / "report.json").write_text(json.dumps({"rows": 6}, indent=1))
    assert load(tmp_path).sources[0].files == {"train.jsonl": 6}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"<!DOCTYPE html>\n<html>404</html>", "is a web page, not rows; download the file itself"),
        (
            "a.jsonl",
            b"version https://git-lfs.github.com/spec/v1",
            "is a pointer of Git LFS.*git lfs pull",
        ),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1", "a.parquet cannot be read"),
        ("a.jsonl", LINES.decode().encode("utf-16"), "is UTF-16 or UTF-32 text; save it as UTF-8"),
        ("a.jsonl", b"PAR1....", "is Parquet, by its content"),
        ("a.jsonl", b"PK\x03\x04....", "is a zip archive or a spreadsheet"),
        ("a.jsonl.gz", gzip.compress(b"x" * 257 + b"ustar", mtime=0), "is a tar archive"),
        ("a.csv", b"prompt,chosen,chosen\n1,2,3\n", "column 'chosen' occurs twice"),
        ("a.csv", b'prompt,chosen,rejected\n"1,2,3\n', "cannot be read: unexpected end of data"),
        ("a.csv", "prompt,chosen,rejected\né,2,3\n".encode("latin-1"), "cannot be read: 'utf-8' codec"),
        ("a.csv", b"prompt,chosen,rejected\n1,2\n", "malformed CSV: it has 2 values, the first line 3"),
        ("a.json", json.dumps(ROWS).encode()[:-30], "a.json cannot be read: row 5: Unterminated string"),
        ("a.json", b"[" * 100_000, "a.json cannot be read: row 0: maximum recursion depth"),
        ("a.jsonl", b'{"chosen":' * 100_000, "malformed JSON: maximum recursion depth"),
        ("a.jsonl", b'{"chosen": [], "rejected": [], "chosen": []}', "key stated twice: 'chosen'"),
        ("a.jsonl", b"\0" * 500, "malformed JSON"),
        ("a.jsonl", "{'é'}".encode("latin-1"), "malformed JSON: 'utf-8' codec can't decode"),
    ],
)
def test_what_is_no_file_of_rows_is_told_as_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path / name)


def test_a_truncated_parquet_shard_is_the_one_that_is_named(tmp_path):
    for number in (0, 1):
        datasets.Dataset.from_list(ROWS).to_parquet(str(tmp_path / f"train-0000{number}-of-00002.parquet"))
    second = tmp_path / "train-00001-of-00002.parquet"
    second.write_bytes(second.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"train-00001-of-00002.parquet cannot be read"):
        load(tmp_path)


def test_rows_that_arrow_cannot_hold_are_faults_of_the_row(tmp_path):
    row = {**ROWS[0], "tools": [{"name": "\ud800"}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**ROWS[1], "\ud800": 1}) + "\n")
    splits = load(tmp_path / "a.jsonl", on_bad_row="drop")
    assert splits.sources[0].dropped == {"not valid Unicode": 1}
    assert splits.sources[0].unread == ("\\ud800",)


def test_nul_is_kept_as_it_is(tmp_path):
    row = json.loads(json.dumps(ROWS[0]))
    row["chosen"][-1]["content"] = "a\0b"
    assert answers(load(write_jsonl(tmp_path / "a.jsonl", [row])).train) == ["a\0b"]


def test_a_row_beyond_the_limit_is_refused_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "LONGEST", 2_000_000)
    with (tmp_path / "a.jsonl").open("wb") as stream:
        stream.write(b'{"chosen": "')
        for _ in range(60):
            stream.write(b"x" * 1_000_000)
        stream.write(b'"}\n' + LINES)
    tracemalloc.start()
    splits = load(tmp_path / "a.jsonl", on_bad_row="drop")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert splits.sources[0].dropped == {"too long a row": 1}
    assert answers(splits.train) == WRITTEN
    assert peak < 20_000_000


def test_a_typed_row_beyond_the_limit_is_refused(tmp_path):
    long = {**ROWS[0], "chosen": [*ROWS[0]["chosen"][:-1], {"role": "assistant", "content": "x" * 9_000_000}]}
    datasets.Dataset.from_list([*ROWS, long]).to_parquet(str(tmp_path / "a.parquet"))
    with pytest.raises(DataError, match=r"row 6 of train of .* is bad: too long a row: it has more than"):
        load(tmp_path / "a.parquet")


def test_a_list_of_rows_is_decoded_as_it_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "_CHUNK", 100)
    (tmp_path / "a.json").write_text(json.dumps(ROWS, indent=2) + "\n\n")
    assert answers(load(tmp_path / "a.json").train) == WRITTEN
    (tmp_path / "b.json").write_text(json.dumps(ROWS) + " {}")
    with pytest.raises(DataError, match="something follows the list"):
        load(tmp_path / "b.json")


def test_checked_rows_are_kept_and_found_again_unless_the_file_changed(tmp_path):
    file = write_jsonl(tmp_path / "pairs.jsonl", ROWS)

    def kept():
        load_dataset_splits(DataArguments(dataset_name=str(file)), kind="preference", cache=tmp_path / "cache")
        return {path.name for path in (tmp_path / "cache" / "rows").iterdir() if path.name != ".locks"}

    first = kept()
    assert kept() == first
    write_jsonl(file, ROWS[:-1])
    assert len(kept() - first) == 1
