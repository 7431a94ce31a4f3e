"""What was kept stays kept: torn lines, other models, and beginning anew."""

from __future__ import annotations

import json

import pytest

from alignment.errors import SetupError
from alignment.evaluation.store import ItemStore, set_aside

ABOUT = {"model": {"weights": "abc", "name": "ours"}, "versions": {"alpaca_eval": "0.6.6"}}


def test_items_are_there_for_the_next_process(tmp_path):
    store = ItemStore(tmp_path / "x", ABOUT)
    store.add("a", {"text": "so \u2028 and \ud83d so"})
    store.add("b", {"text": "b"})
    again = ItemStore(tmp_path / "x", ABOUT)
    assert again.found == store.found == {"a": {"text": "so \u2028 and \ud83d so"}, "b": {"text": "b"}}


def test_a_line_that_a_kill_cut_off_is_written_again(tmp_path):
    store = ItemStore(tmp_path / "x", ABOUT)
    store.add("a", {"n": 1})
    with store.path.open("a") as stream:
        stream.write('{"id": "b", "n"')
    again = ItemStore(tmp_path / "x", ABOUT)
    assert again.found == {"a": {"n": 1}}
    again.add("b", {"n": 2})
    assert [json.loads(line)["id"] for line in store.path.read_text().splitlines()] == ["a", "b"]


def test_what_belongs_to_another_model_or_version_is_refused_and_kept(tmp_path):
    ItemStore(tmp_path / "x", ABOUT).add("a", {"n": 1})
    other = {"model": {"weights": "def", "name": "ours"}, "versions": {"alpaca_eval": "0.6.2"}}
    with pytest.raises(SetupError) as caught:
        ItemStore(tmp_path / "x", other)
    said = str(caught.value)
    assert "model.weights def was 'abc'" in said and "versions.alpaca_eval 0.6.2 was '0.6.6'" in said
    assert "FRESH=1" in said and "model.name" not in said
    assert ItemStore(tmp_path / "x", ABOUT).found == {"a": {"n": 1}}


def test_beginning_anew_loses_nothing(tmp_path):
    for n in (1, 2):
        ItemStore(tmp_path / "x", ABOUT).add("a", {"n": n})
        assert set_aside(tmp_path / "x") == tmp_path / f"x.{n}"
    assert set_aside(tmp_path / "x") is None
    assert [ItemStore(tmp_path / f"x.{n}", ABOUT).found["a"]["n"] for n in (1, 2)] == [1, 2]


def test_damage_is_named(tmp_path):
    store = ItemStore(tmp_path / "x", ABOUT)
    store.path.write_text('{"id": "a"}\nnonsense\n')
    with pytest.raises(SetupError, match=r"line 2 of .*items\.jsonl is damaged"):
        ItemStore(tmp_path / "x", ABOUT)
