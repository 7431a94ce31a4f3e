"""AlpacaEval's win rates from annotation files, against numbers worked by hand."""

from __future__ import annotations

import json
import math
import sys

import pytest

from alignment.errors import DataError, SetupError
from alignment.evaluation import alpaca_eval
from alignment.evaluation.alpaca_library import Annotator


def annotation(preference, **changes):
    return {
        "instruction": "Why?",
        "output_1": "Because.",
        "output_2": "Since.",
        "generator_1": "gpt4_1106_preview",
        "generator_2": "ours",
        "annotator": "weighted_alpaca_eval_gpt4_turbo",
        "preference": preference,
        **changes,
    }


def test_continuous_preferences_by_hand():
    # shares .2, .8, .5: mean .5; variance (.09 + .09 + 0) / 2 = .09; standard error .3 / sqrt(3)
    found = alpaca_eval.win_rates([annotation(value) for value in (1.2, 1.8, 1.5)])
    assert found["win_rate"] == pytest.approx(50)
    assert found["standard_error"] == pytest.approx(30 / math.sqrt(3))
    assert found["n"] == 3
    assert found["length_controlled_win_rate"] is None


def test_zero_is_the_old_tie_and_null_counts_for_nothing(capsys):
    # 0 -> 1.5; null, NaN and numbers outside 1 to 2 are no preferences: shares .5, 1, 0
    rows = [annotation(value) for value in (0, None, 2, math.nan, 1, 3, -1)]
    found = alpaca_eval.win_rates(rows)
    assert (found["win_rate"], found["n"]) == (pytest.approx(50), 3)
    assert "4 of 7 annotations hold no preference" in capsys.readouterr().err


def test_files_and_rows_give_the_same(tmp_path):
    rows = [annotation(value) for value in (1, 2, 2, 1.25)]
    as_list, as_lines = tmp_path / "annotations.json", tmp_path / "annotations.jsonl"
    as_list.write_text(json.dumps(rows, indent=1))
    as_lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = alpaca_eval.win_rates(rows)
    assert alpaca_eval.win_rates(as_list) == alpaca_eval.win_rates(str(as_lines)) == expected
    assert expected["win_rate"] == pytest.approx(100 * 2.25 / 4)


def test_one_annotation_has_no_standard_error():
    assert alpaca_eval.win_rates([annotation(2)])["standard_error"] is None


def test_several_models_in_one_file_are_refused():
    rows = [annotation(1), annotation(2, generator_2="theirs")]
    with pytest.raises(DataError, match="one generator_2 in all rows, and has ours, theirs"):
        alpaca_eval.win_rates(rows)


@pytest.mark.parametrize("wrong", ["2", True, [1.5]])
def test_a_preference_that_is_no_number_is_named(wrong):
    with pytest.raises(DataError, match="row 2 of annotations"):
        alpaca_eval.win_rates([annotation(1), annotation(wrong)])


def test_what_cannot_be_scored_at_all(tmp_path):
    for rows, told in (([], "holds no rows"), ([annotation(None)], "hold no preference"), ([3], "is no mapping")):
        with pytest.raises(DataError, match=told):
            alpaca_eval.win_rates(rows)
    with pytest.raises(DataError, match="is no file"):
        alpaca_eval.win_rates(tmp_path / "absent.json")
    cut = tmp_path / "cut.json"
    cut.write_text('[{"preference": 1}, {"prefer')
    with pytest.raises(DataError, match=r"cut\.json"):
        alpaca_eval.win_rates(cut)
    without = {key: value for key, value in annotation(1).items() if key != "preference"}
    with pytest.raises(DataError, match="row 1"):
        alpaca_eval.win_rates([without])


def test_another_baseline_has_no_published_length_control(capsys):
    rows = [annotation(2, generator_1="text_davinci_003")]
    assert alpaca_eval.win_rates(rows)["length_controlled_win_rate"] is None
    assert "baseline gpt4_1106_preview only" in capsys.readouterr().err


def test_without_the_library_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "alpaca_eval", None)
    with pytest.raises(SetupError, match=r"alpaca_eval cannot be imported .*pip install \.\[eval\]"):
        Annotator("weighted_alpaca_eval_gpt4_turbo")
    assert alpaca_eval.win_rates([annotation(2)])["win_rate"] == 100
