"""`alignment pairs` with what a user may get wrong: one message, exit code 2, and what was drawn is kept."""

from __future__ import annotations

import pytest
from tiny import write_jsonl

from alignment.cli.app import main


def run(place, *words: str, command: str = "pairs") -> int:
    with pytest.raises(SystemExit) as ended:
        main(command, ["--config", str(place.file), "--output_dir", str(place.output), *words])
    return ended.value.code


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--generation.engine", "vlm"], "generation.engine vlm must be one of"),
        (["--scorer.name", "no.such.module:score"], "no.such.module:score cannot be imported"),
        (["--scorer.name", "nowhere/", "--prompts.max_rowz", "3"], "did you mean max_rows?"),
        (["--scorer.options.devise", "cpu"], "devise is no option of a function"),
        (["--prompts.column", "promt"], "missing column"),
        (["--prompts.max_tokens", "2"], "holds no prompt that is wanted (12 x above max_tokens)"),
        (["--chat_template", "gemma3"], "chat_template"),
    ],
)
def test_a_mistake_is_told_before_anything_is_drawn(place, capsys, words, told):
    assert run(place, *words) == 2
    errors = capsys.readouterr().err
    assert told in errors and "Traceback" not in errors
    assert place.lines("answers") == []


def test_rows_without_a_prompt_are_named_or_left_out(place, capsys):
    write_jsonl(
        place.folder / "prompts.jsonl", [{"prompt": "the sun"}, {"prompt": "  "}, {"prompt": 3}, {"prompt": "a"}]
    )
    assert run(place) == 2
    errors = capsys.readouterr().err
    assert "2 bad rows out of 4" in errors and "line 2" in errors and "line 3" in errors
    assert run(place, "--prompts.on_bad_row", "drop", "--test_size", "1") == 0
    assert "Prompts: 2 of 4 rows" in capsys.readouterr().out


def test_a_model_without_a_score_head_is_no_scorer_and_is_refused_before_anything_is_drawn(place, tiny_model, capsys):
    assert run(place, "--scorer.name", str(tiny_model)) == 2
    assert "score" in capsys.readouterr().err
    assert place.lines("answers") == []


def test_a_recipe_of_pairs_is_checked_and_not_trained(place, capsys):
    assert run(place, command="check") == 0
    assert "prompts.dataset_name" in capsys.readouterr().out
    assert run(place, command="train") == 2
    assert "make pairs RECIPE=" in capsys.readouterr().err


def test_a_recipe_that_trains_makes_no_pairs(capsys):
    with pytest.raises(SystemExit) as ended:
        main("pairs", ["tiny/simpo"])
    assert ended.value.code == 2
    assert "make train RECIPE=tiny/simpo" in capsys.readouterr().err
