"""Ids on disk: found again by equal calls only, whole or not at all."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from tiny import gemma_tokenizer, preference_rows

from alignment.data import TokenRules, check_rows, prepare_rows, processes, tokenize_preference
from alignment.data import cache as cache_module
from alignment.errors import DataError, SetupError

LENGTHS = {"max_length": 60, "max_prompt_length": 30}
RULES = TokenRules(**LENGTHS)


@pytest.fixture(scope="module")
def tokenizer():
    return gemma_tokenizer()


@pytest.fixture(scope="module")
def rows():
    return check_rows(preference_rows(30), kind="preference").dataset


@pytest.fixture
def never_tokenized(monkeypatch):
    """From here on, tokenizing a row is a failure."""

    def arm():
        def forbidden(*_, **__):
            raise AssertionError("tokenized although the ids were in the cache")

        monkeypatch.setattr(cache_module, "_tokenize", forbidden)

    return arm


def entries(folder):
    return sorted(path.name for path in (folder / "pairs").iterdir() if path.name != ".locks")


@pytest.mark.parametrize("num_proc", [None, 2])
def test_ids_are_those_of_the_rows_in_their_order(tmp_path, rows, tokenizer, monkeypatch, num_proc):
    monkeypatch.setattr(processes, "PARALLEL_FROM", 10)
    expected = [tokenize_preference(row, tokenizer, **LENGTHS) for row in rows]
    kept = prepare_rows(rows, tokenizer, RULES, cache=tmp_path, num_proc=num_proc).dataset
    unkept = prepare_rows(rows, tokenizer, RULES, num_proc=num_proc).dataset
    assert [dict(row) for row in kept] == expected
    assert [dict(row) for row in unkept] == expected


def test_an_equal_call_takes_the_ids_from_disk_and_says_so(tmp_path, rows, tokenizer, never_tokenized):
    first = prepare_rows(rows, tokenizer, RULES, cache=tmp_path)
    never_tokenized()
    second = prepare_rows(rows, copy.deepcopy(tokenizer), RULES, cache=tmp_path)
    assert (first.from_cache, second.from_cache) == (False, True)
    assert second.dataset[:] == first.dataset[:]
    assert second.statistics == first.statistics
    assert f"taken from {tmp_path}" in str(second)


def test_whatever_decides_the_ids_is_in_the_fingerprint(rows, tokenizer):
    def fingerprint(dataset=rows, tokenizer=tokenizer, **settings):
        return prepare_rows(dataset, tokenizer, replace(RULES, **settings)).fingerprint

    other_template, other_eos = copy.deepcopy(tokenizer), copy.deepcopy(tokenizer)
    other_template.chat_template += " "
    other_eos.eos_token = "<end_of_turn>"
    seen = [
        fingerprint(),
        fingerprint(rows.select(range(29))),
        fingerprint(rows.select([1, 0, *range(2, 30)])),
        fingerprint(tokenizer=other_template),
        fingerprint(tokenizer=other_eos),
        fingerprint(tokenizer=gemma_tokenizer(390)),
        fingerprint(max_length=61),
        fingerprint(max_prompt_length=31),
        fingerprint(truncation_mode="keep_start"),
        fingerprint(truncation="completion_aware"),
        fingerprint(generation_prompt="prompt"),
    ]
    assert len(set(seen)) == len(seen)
    assert fingerprint() == seen[0]


def flip_a_byte(entry):
    arrow = next(entry.glob("*.arrow"))
    content = bytearray(arrow.read_bytes())
    content[len(content) // 2] ^= 1
    arrow.write_bytes(content)


def truncate(entry):
    arrow = next(entry.glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:-100])


def lose_the_seal(entry):
    (entry / "seal.json").unlink()


def empty(entry):
    for path in entry.iterdir():
        path.unlink()


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, lose_the_seal, empty])
def test_a_damaged_entry_is_tokenized_again(tmp_path, rows, tokenizer, damage, caplog):
    first = prepare_rows(rows, tokenizer, RULES, cache=tmp_path)
    expected = first.dataset[:]
    damage(first.cached_in)
    again = prepare_rows(rows, tokenizer, RULES, cache=tmp_path)
    assert again.from_cache is False
    assert again.dataset[:] == expected
    assert "damaged" in caplog.text
    assert entries(tmp_path) == [again.fingerprint]
    assert prepare_rows(rows, tokenizer, RULES, cache=tmp_path).from_cache


def test_a_run_interrupted_while_writing_leaves_nothing_that_is_found(tmp_path, rows, tokenizer, monkeypatch):
    monkeypatch.setattr(cache_module, "token_statistics", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare_rows(rows, tokenizer, RULES, cache=tmp_path)
    assert entries(tmp_path) == []


def test_statistics_count_what_truncation_took(rows, tokenizer):
    prepared = prepare_rows(rows, tokenizer, TokenRules(max_length=40, max_prompt_length=10))
    whole = prepare_rows(rows, tokenizer, TokenRules(max_length=400, max_prompt_length=10))
    pairs = list(zip(whole.dataset, prepared.dataset, strict=True))

    def shorter(column):
        return sum(len(after[column]) < len(before[column]) for before, after in pairs)

    told = prepared.statistics
    assert told.rows == 30
    assert told.cut == {side: shorter(f"{side}_ids") for side in ("prompt", "chosen", "rejected")}
    assert min(told.cut["prompt"], told.cut["chosen"]) > 0
    assert set(whole.statistics.cut.values()) == {0}
    lengths = [len(row["prompt_ids"]) for row in whole.dataset]
    assert whole.statistics.lengths["prompt"]["mean"] == pytest.approx(sum(lengths) / 30)
    assert whole.statistics.lengths["prompt"]["max"] == max(lengths)
    assert f"truncated: {told.cut['prompt']} prompt, " in str(told)


def test_rows_that_the_template_refuses_are_named(rows, tokenizer, tmp_path):
    picky = copy.deepcopy(tokenizer)
    text = rows[7]["prompt"][0]["content"]
    refusal = "{% if messages[0].content == '" + text + "' %}{{ raise_exception('not this') }}{% endif %}"
    picky.chat_template = refusal + tokenizer.chat_template
    for _ in range(2):  # the second time from the cache
        with pytest.raises(DataError) as caught:
            prepare_rows(rows, picky, RULES, cache=tmp_path)
        assert "row 7 of the data is bad: refused by the chat template: on a conversation of user: not this." in str(
            caught.value
        )
        assert "has 1 rows that cannot be trained on, out of 30 (1 x refused by the chat template)" in str(caught.value)
    left = prepare_rows(rows, picky, RULES, cache=tmp_path, on_bad_row="drop")
    assert (len(left.dataset), left.findings.dropped) == (29, {"refused by the chat template": 1})
    assert left.dataset[7] == prepare_rows(rows, tokenizer, RULES).dataset[8]


def test_a_cache_that_cannot_be_written(tmp_path, rows, tokenizer):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"cannot be written.*ALIGNMENT_CACHE"):
        prepare_rows(rows, tokenizer, RULES, cache=tmp_path / "file")


def test_an_interrupt_of_all_processes_at_once_is_one(tmp_path):
    """As Ctrl-C in a terminal does it: to this process and to those that it has started."""
    program = f"""
import os, signal, time
from pathlib import Path
from datasets import Dataset, Features, Value
from alignment.data import processes

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored

def slow(batch):
    (Path({str(tmp_path)!r}) / f"started-{{os.getpid()}}").touch()
    time.sleep(60)
    return batch

processes.PARALLEL_FROM = 2
rows = Dataset.from_dict({{"a": [1, 2, 3, 4]}})
try:
    processes.map_batches(rows, slow, Features({{"a": Value("int64")}}), scratch=Path({str(tmp_path)!r}), num_proc=2)
except KeyboardInterrupt:
    print("interrupted")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("started-*"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "interrupted\n"
