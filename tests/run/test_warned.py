"""Warnings that the rows, the tokenizer and the chat template give rise to."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import yaml
from tiny import preference_rows, save_gemma2, write_jsonl

from alignment.data import load_dataset_splits, prepare_splits
from alignment.methods import METHODS
from alignment.modeling.load import load_tokenizer
from alignment.recipe import load_recipe
from alignment.run.warned import facts_of_run, warn


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_gemma2(tmp_path_factory.mktemp("model"))


def prepared(folder: Path, model: Path, train: list[dict], test: list[dict], **changes: object) -> tuple:
    """What `warn` takes, of a recipe over these rows."""
    write_jsonl(folder / "data/train.jsonl", train)
    write_jsonl(folder / "data/test.jsonl", test)
    settings = {
        **{"method": "simpo", "model_name_or_path": str(model), "dataset_name": str(folder / "data")},
        **{"global_batch_size": 4, "eval_strategy": "epoch", "use_cpu": True, "output_dir": str(folder / "out")},
        **changes,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings))
    recipe = load_recipe(path)
    config = recipe.config(world_size=1)
    tokenizer = load_tokenizer(recipe.model, chat_template=recipe.data.chat_template)
    method = METHODS[recipe.method]
    splits = load_dataset_splits(recipe.data, kind=method.data)
    rules = method.token_rules(partial(getattr, config))
    return recipe, config, tokenizer, prepare_splits(splits, tokenizer, rules, on_bad_row="error")


@pytest.mark.parametrize("method", ["simpo", "dpo", "sft"])
def test_rows_are_counted_and_compared(tmp_path: Path, model: Path, method: str) -> None:
    rows = preference_rows(12)
    facts = facts_of_run(*prepared(tmp_path, model, [*rows[:8], *rows[:3]], [*rows[6:12]], method=method))
    assert (facts.rows, facts.distinct_rows, facts.evaluation_rows, facts.seen_in_training) == (11, 8, 6, 2)
    assert (facts.batch, facts.header) == (4, "<start_of_turn>model\n")
    assert facts.steps == (3 if method == "simpo" else 9)  # of 4 rows; TRL's default is three epochs


def test_lengths_are_compared_and_all_is_recorded(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"chosen": "the cat sleeps under the old tree and " * 4, "rejected": "no"}
    rows = [{"prompt": f"Why {number}?", **answers} for number in range(8)]
    parts = prepared(tmp_path, model, rows, rows[:2], acknowledge=["few-steps"], learning_rate=1e-6)
    warned = warn(parts[0], facts_of_run(*parts))
    recorded = {warning["name"]: warning["acknowledged"] for warning in warned}
    assert recorded == {
        **{"unusual-batch": False, "few-steps": True, "rare-logging": False},
        **{"longer-chosen": False, "evaluation-in-training": False},
    }
    told = capsys.readouterr().out
    assert "warning: evaluation-in-training: 2 of 2 evaluation rows" in told and "few-steps:" not in told


def test_a_template_without_a_generation_prompt(tmp_path: Path, model: Path) -> None:
    silent = (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
    )
    rows = preference_rows(4)
    facts = facts_of_run(*prepared(tmp_path, model, rows, rows, chat_template=silent))
    assert (facts.header, facts.own_template) == ("", True)


def test_a_tokenizer_without_a_template_of_its_own(tmp_path: Path) -> None:
    bare = save_gemma2(tmp_path / "base")
    (bare / "chat_template.jinja").unlink()
    rows = preference_rows(4)
    facts = facts_of_run(*prepared(tmp_path, bare, rows, rows, chat_template="gemma2"))
    assert facts.own_template is False
