"""What values may look like in YAML and on the command line, and what becomes of them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from alignment.errors import RecipeError
from alignment.recipe import DatasetMixture, DatasetSource, Recipe, load_recipe

BASE = "method: simpo\nmodel_name_or_path: some/model\ndataset_name: some/data\n"


def load(folder: Path, text: str = "", *overrides: str, base: str = BASE) -> Recipe:
    path = folder / "mine.yaml"
    path.write_text(base + text)
    return load_recipe(path, overrides)


TRUE = ["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y", "t", "1", '"true"', '"yes"', "'on'"]
FALSE = [
    "false",
    "False",
    "FALSE",
    "no",
    "No",
    "NO",
    "off",
    "Off",
    "OFF",
    "n",
    "N",
    "f",
    "0",
    '"false"',
    '"no"',
    "'off'",
]


@pytest.mark.parametrize(("word", "meaning"), [(w, True) for w in TRUE] + [(w, False) for w in FALSE])
def test_every_spelling_of_a_boolean(tmp_path: Path, word: str, meaning: bool) -> None:
    assert load(tmp_path, f"bf16: {word}\n").training["bf16"] is meaning
    assert load(tmp_path, "", "--bf16", word.strip("'\"")).training["bf16"] is meaning
    assert load(tmp_path, "", f"--bf16={word}").training["bf16"] is meaning
    assert load(tmp_path, f"use_peft: {word}\n").model.use_peft is meaning


def test_words_that_yaml_takes_for_booleans_stay_words_where_words_are_wanted(tmp_path: Path) -> None:
    recipe = load(
        tmp_path, "eval_strategy: no\nsave_strategy: no\nrun_name: yes\nmodel_revision: on\nhub_revision: n\n"
    )
    assert recipe.training["eval_strategy"] == recipe.training["save_strategy"] == "no"
    assert (recipe.training["run_name"], recipe.model.model_revision) == ("yes", "on")
    assert recipe.training["hub_revision"] == "n"


def test_booleans_in_free_mappings(tmp_path: Path) -> None:
    recipe = load(tmp_path, "gradient_checkpointing_kwargs: {use_reentrant: no, other: 'no', depth: 2}\n")
    assert recipe.resolved["gradient_checkpointing_kwargs"] == {"use_reentrant": False, "other": "no", "depth": 2}


NUMBERS = [
    ("1e-6", 1e-6),
    ("8.0e-7", 8e-7),
    (".5", 0.5),
    ("1.", 1.0),
    ("2", 2),
    ('"5e-7"', 5e-7),
    ("1_0", 10),
    ("+3", 3),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers(tmp_path: Path, text: str, value: float) -> None:
    assert load(tmp_path, f"learning_rate: {text}\n").training["learning_rate"] == value
    assert load(tmp_path, "", f"--learning_rate={text}").training["learning_rate"] == value


def test_whole_numbers_may_be_written_as_floats_that_are_whole(tmp_path: Path) -> None:
    steps = load(tmp_path, "max_steps: 1e3\n").training["max_steps"]
    assert steps == 1000 and isinstance(steps, int)
    assert isinstance(load(tmp_path, "eval_steps: 400\n").training["eval_steps"], int)


def test_text_keeps_its_spelling(tmp_path: Path) -> None:
    text = "run_name: 2024-01-01\nmodel_revision: 1.10\nhub_revision: 0755\ndataset_config: 12:30\n"
    recipe = load(tmp_path, text)
    assert recipe.training["run_name"] == "2024-01-01" and recipe.model.model_revision == "1.10"
    assert recipe.training["hub_revision"] == "0755" and recipe.data.dataset_config == "12:30"


@pytest.mark.parametrize("word", ["null", "~", "none", "None", ""])
def test_null(tmp_path: Path, word: str) -> None:
    recipe = load(tmp_path, f"hub_model_id: {word}\ndtype: {word}\nglobal_batch_size: {word}\n")
    assert recipe.training["hub_model_id"] is None and recipe.global_batch_size is None
    assert recipe.model.dtype == "float32"
    assert load(tmp_path, "", "--attn_implementation", word).model.attn_implementation is None


VALUES = [
    (("--run_name", "a=b"), "run_name", "a=b"),
    (("--run_name=a=b=c",), "run_name", "a=b=c"),
    (("--run_name", "a: b #1"), "run_name", "a: b #1"),
    (("--run_name", "-1"), "run_name", "-1"),
    (("--run_name=--odd",), "run_name", "--odd"),
    (("--run-name", "dashes"), "run_name", "dashes"),
    (("--run_name", "'42'"), "run_name", "42"),
    (("--max_steps", "-1"), "max_steps", -1),
    (("--push_to_hub",), "push_to_hub", True),
    (("--push_to_hub", "--seed", "3"), "push_to_hub", True),
    (("--report_to", "wandb", "tensorboard"), "report_to", ("wandb", "tensorboard")),
    (("--report_to", "[wandb, tensorboard]"), "report_to", ("wandb", "tensorboard")),
    (("--report_to", "none"), "report_to", "none"),
    (
        ("--gradient_checkpointing_kwargs", "{use_reentrant: no}"),
        "gradient_checkpointing_kwargs",
        {"use_reentrant": False},
    ),
    (
        ("--gradient_checkpointing_kwargs.use_reentrant", "off"),
        "gradient_checkpointing_kwargs",
        {"use_reentrant": False},
    ),
]


@pytest.mark.parametrize(("overrides", "key", "value"), VALUES)
def test_overrides(tmp_path: Path, overrides: tuple[str, ...], key: str, value: object) -> None:
    assert load(tmp_path, "run_name: first\n", *overrides).resolved[key] == value


def test_lists_of_words(tmp_path: Path) -> None:
    for words in (["q_proj", "v_proj"], ["[q_proj, v_proj]"]):
        recipe = load(tmp_path, "use_peft: true\n", "--lora_target_modules", *words)
        assert recipe.model.lora_target_modules == ("q_proj", "v_proj")
    assert load(tmp_path, "use_peft: on\nlora_target_modules: all-linear\n").model.lora_target_modules == "all-linear"
    assert load(tmp_path, "use_peft: on\nlora_target_modules: [all-linear]\n").model.lora_target_modules == "all-linear"


def test_one_word_where_a_list_is_wanted(tmp_path: Path) -> None:
    base = BASE.replace("simpo", "dpo")
    assert load(tmp_path, "loss_type: ipo\n", base=base).training["loss_type"] == ("ipo",)
    with pytest.raises(RecipeError, match=r"loss_weights .* must be as many as the losses"):
        load(tmp_path, "loss_type: [sigmoid, sft]\nloss_weights: 1.0\n", base=base)


def test_inline_jinja(tmp_path: Path) -> None:
    template = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    assert load(tmp_path, "", "--chat_template", template).data.chat_template == template
    assert load(tmp_path, f"chat_template: {json.dumps(template)}\n").data.chat_template == template


def test_a_mixture_becomes_frozen_sources_and_can_be_overridden_inside(tmp_path: Path) -> None:
    base = BASE.replace("dataset_name: some/data\n", "")
    text = (
        "dataset_mixture:\n  datasets:\n  - id: a/b\n    weight: 0.5\n    columns: [chosen, rejected]\n"
        "  - {id: c/d, config: yes, split: train_prefs}\n  seed: 7\n  test_split_size: 0.1\n"
    )
    recipe = load(tmp_path, text, "--dataset_mixture.datasets[1].weight", "0.25", "--dataset_mixture.seed=8", base=base)
    assert recipe.data.dataset_mixture == DatasetMixture(
        datasets=(
            DatasetSource(id="a/b", weight=0.5, columns=("chosen", "rejected")),
            DatasetSource(id="c/d", config="yes", split="train_prefs", weight=0.25),
        ),
        seed=8,
        test_split_size=0.1,
    )


def test_the_test_split_is_named_only_when_it_is_used(tmp_path: Path) -> None:
    assert load(tmp_path).data.dataset_test_split is None
    assert load(tmp_path, "eval_strategy: epoch\n").data.dataset_test_split == "test"
    assert load(tmp_path, "eval_strategy: epoch\ndataset_test_split: dev\n").data.dataset_test_split == "dev"
    assert load(tmp_path, "dataset_test_split: dev\n").data.dataset_test_split is None


def test_local_places_are_found_from_the_file_that_states_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, mine, elsewhere = tmp_path / "shared", tmp_path / "mine", tmp_path / "elsewhere"
    for folder in (shared, mine, elsewhere):
        folder.mkdir()
    (shared / "pairs.jsonl").write_text("{}\n")
    (shared / "t.jinja").write_text("{{ messages }}")
    (shared / "base.yaml").write_text(BASE.replace("some/data", "pairs.jsonl") + "chat_template: t.jinja\n")
    (mine / "recipe.yaml").write_text("extends: ../shared/base.yaml\n")
    monkeypatch.chdir(elsewhere)
    recipe = load_recipe(mine / "recipe.yaml")
    assert recipe.data.dataset_name == str(shared / "pairs.jsonl")
    assert recipe.data.chat_template == "{{ messages }}"
    assert recipe.resolved["dataset_name"] == "pairs.jsonl"  # the manifest tells no path of this machine
    (elsewhere / "pairs.jsonl").write_text("{}\n")  # the working directory comes first
    assert load_recipe(mine / "recipe.yaml").data.dataset_name == str(elsewhere / "pairs.jsonl")


def test_a_recipe_cannot_be_changed_and_survives_pickle_and_json(tmp_path: Path) -> None:
    recipe = load(tmp_path, "gradient_checkpointing_kwargs: {use_reentrant: false}\nreport_to: [wandb]\n")
    with pytest.raises(TypeError, match="read-only"):
        recipe.training["beta"] = 1  # type: ignore[index]
    with pytest.raises(TypeError, match="read-only"):
        recipe.resolved["gradient_checkpointing_kwargs"]["use_reentrant"] = True
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    told = json.loads(json.dumps(recipe.describe()))
    assert told["method"] == "simpo" and told["settings"]["report_to"] == ["wandb"]


def test_defaults_are_the_same_for_every_method(tmp_path: Path) -> None:
    for method in ("sft", "dpo", "simpo", "orpo"):
        config = load(tmp_path, base=BASE.replace("simpo", method)).config(world_size=1)
        assert config.bf16 is False and config.report_to == [] and config.output_dir == "outputs/mine"


def test_upstream_spellings_reach_the_installed_transformers(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    text = "warmup_ratio: 0.1\ngradient_checkpointing: true\ngradient_checkpointing_kwargs: {use_reentrant: false}\n"
    config = load(tmp_path, text).config(world_size=1)
    assert config.get_warmup_steps(200) == 20
    assert config.gradient_checkpointing is True
    assert config.gradient_checkpointing_kwargs == {"use_reentrant": False}
    assert not [warning for warning in recwarn if "deprecated" in str(warning.message)]


def test_what_transformers_refuses_is_told_as_a_fault(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is refused by transformers"):
        load(
            tmp_path,
            "save_strategy: best\nload_best_model_at_end: true\neval_strategy: steps\neval_steps: 3\n",
            "--metric_for_best_model",
            "loss",
            "--use_cpu",
            "false",
            "--bf16",
        ).config(world_size=1)


@pytest.mark.parametrize("value", ["true", "false"])
def test_gradient_checkpointing_off_beats_inherited_kwargs(tmp_path: Path, value: str) -> None:
    text = "gradient_checkpointing: true\ngradient_checkpointing_kwargs: {use_reentrant: false}\n"
    config = load(tmp_path, text, "--gradient_checkpointing", value).config(world_size=1)
    assert config.gradient_checkpointing is (value == "true")
