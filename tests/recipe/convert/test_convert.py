"""Foreign recipes become recipes that load, with the settings they had, and every difference is told."""

from __future__ import annotations

import json
from pathlib import Path

import foreign
import pytest

from alignment.cli.app import main
from alignment.errors import RecipeError
from alignment.recipe import Recipe, load_recipe
from alignment.recipe.convert import Converted, convert_file


def convert(folder: Path, text: str, name: str = "foreign.yaml", gpus: int | None = None) -> tuple[Converted, str]:
    """The conversion of `text`, and its notes as one text."""
    (folder / name).write_text(text)
    converted = convert_file(folder / name, gpus=gpus)
    return converted, "\n".join(map(str, converted.notes))


def loaded(folder: Path, converted: Converted) -> Recipe:
    (folder / "ours.yaml").write_text(converted.text)
    return load_recipe(folder / "ours.yaml")


def test_the_old_form_of_the_handbook(tmp_path: Path) -> None:
    converted, told = convert(tmp_path, foreign.OLD_HANDBOOK)
    recipe = loaded(tmp_path, converted)
    assert converted.complete and recipe.method == "dpo"
    assert (recipe.model.dtype, recipe.model.attn_implementation) == ("bfloat16", "flash_attention_2")
    assert recipe.data.dataset_name == "someone/pairs" and recipe.data.dataset_num_proc == 12
    assert (recipe.data.dataset_train_split, recipe.data.dataset_test_split) == ("train_prefs", "test_prefs")
    assert recipe.training["beta"] == 0.05 and recipe.training["hub_revision"] == "v1"
    assert "changed      torch_dtype: bfloat16 -> dtype: bfloat16" in told
    assert "dropped      max_prompt_length: 512" in told and "dropped      overwrite_output_dir: true" in told
    assert "not carried  sanity_chek: true" in told and "128 rows a step on 8" in told


def test_a_mixture_keeps_its_rows_and_says_which_are_test_rows(tmp_path: Path) -> None:
    converted, told = convert(tmp_path, foreign.NEW_HANDBOOK)
    recipe = loaded(tmp_path, converted)
    assert recipe.method == "sft" and recipe.model.dtype == "float32" and recipe.training["max_length"] == 2048
    mixture = recipe.data.dataset_mixture
    assert mixture is not None and (mixture.seed, mixture.test_split_size) == (3, 1000)
    assert [(source.split, source.weight) for source in mixture.datasets] == [("train_sft", 1.0), ("test_sft", 0.5)]
    assert "dataset_mixture.datasets[1]: test_sft is trained on" in told and "dropped      dataset_kwargs" in told
    assert recipe.data.chat_template == "{% for m in messages %}\n{{ m['content'] }}\n{% endfor %}"


def test_several_old_sources_become_a_mixture(tmp_path: Path) -> None:
    text = foreign.OLD_HANDBOOK.replace("  someone/pairs: 1.0", "  someone/pairs: 1.0\n  other/pairs: 0.25")
    converted, told = convert(tmp_path, text)
    mixture = loaded(tmp_path, converted).data.dataset_mixture
    assert mixture is not None
    sources = [(source.id, source.split, source.weight) for source in mixture.datasets]
    assert sources == [("someone/pairs", "train_prefs", 1.0), ("other/pairs", "train_prefs", 0.25)]
    assert "not carried  dataset_splits: test_prefs" in told and mixture.test_split_size == 0.02


def test_the_simpo_authors_files_are_for_four_gpus(tmp_path: Path) -> None:
    converted, told = convert(tmp_path, foreign.SIMPO)
    recipe = loaded(tmp_path, converted)
    assert recipe.method == "simpo" and recipe.global_batch_size == 128
    assert (recipe.training["beta"], recipe.training["gamma_beta_ratio"]) == (10, 0.5)
    assert recipe.training["max_grad_norm"] == 0 and "added        max_grad_norm: 0" in told
    assert recipe.training["num_train_epochs"] == 3 and recipe.training["lr_scheduler_type"] == "linear"
    converted, _ = convert(tmp_path, foreign.SIMPO, gpus=2)
    assert loaded(tmp_path, converted).global_batch_size == 64


def test_a_command_line_of_trl(tmp_path: Path) -> None:
    converted, told = convert(tmp_path, f"{foreign.TRL_CPO.rstrip()} 2>&1 | tee log && echo done", "run.sh")
    recipe = loaded(tmp_path, converted)
    assert converted.complete and recipe.method == "simpo" and recipe.model.use_peft
    assert recipe.model.model_name_or_path == "someone/model"
    assert recipe.model.lora_target_modules == ("q_proj", "v_proj")
    assert recipe.training["gamma_beta_ratio"] == 0.5 and recipe.training["sft_weight"] == 0
    assert recipe.training["generation_prompt"] == "prompt" and recipe.global_batch_size == 128
    assert "4 rows x 4 accumulated x 8 GPUs of the launcher" in told and "echo" not in converted.text + told
    assert "changed      simpo_gamma: 1.25 -> gamma_beta_ratio: 0.5" in told
    assert "added        max_length: 1024" in told


def test_defaults_that_differ_are_stated(tmp_path: Path) -> None:
    text = "python cpo.py --model_name_or_path a/b --dataset_name c/d --loss_type simpo"
    converted, told = convert(tmp_path, text, "run.txt")
    training = loaded(tmp_path, converted).training
    assert (training["beta"], training["gamma_beta_ratio"], training["sft_weight"]) == (0.1, 5.0, 1.0)
    assert training["num_train_epochs"] == 3
    assert "added        sft_weight: 1.0 (the default of cpo_alpha there)" in told


@pytest.mark.parametrize(("script", "method"), [("sft", "sft"), ("dpo", "dpo"), ("orpo", "orpo"), ("reward", "reward")])
def test_the_script_tells_the_method(tmp_path: Path, script: str, method: str) -> None:
    text = f"trl {script} --model_name_or_path a/b --dataset_name c/d --learning_rate 1e-5"
    converted, _ = convert(tmp_path, text, "run.sh")
    assert loaded(tmp_path, converted).method == method


def test_a_supervised_term_of_dpo_is_a_second_loss(tmp_path: Path) -> None:
    text = "trl dpo --model_name_or_path a/b --dataset_name c/d --rpo_alpha 0.5"
    training = loaded(tmp_path, convert(tmp_path, text, "run.sh")[0]).training
    assert (list(training["loss_type"]), list(training["loss_weights"])) == (["sigmoid", "sft"], [1.0, 0.5])


def test_a_recipe_on_the_command_line_and_overrides_of_it(tmp_path: Path) -> None:
    (tmp_path / "gemma.yaml").write_text(foreign.SIMPO)
    text = "accelerate launch scripts/run_simpo.py gemma.yaml --learning_rate=6e-7"
    training = loaded(tmp_path, convert(tmp_path, text, "run.sh")[0]).training
    assert (training["learning_rate"], training["beta"]) == (6e-7, 10)


def test_axolotl(tmp_path: Path) -> None:
    converted, told = convert(tmp_path, foreign.AXOLOTL)
    recipe = loaded(tmp_path, converted)
    assert converted.complete and recipe.method == "simpo"
    assert recipe.training["beta"] == 2.0 and recipe.training["gamma_beta_ratio"] == 0.5
    assert recipe.training["sft_weight"] == 0.05 and recipe.training["max_length"] == 4096
    assert recipe.model.use_peft and recipe.model.load_in_4bit and recipe.model.lora_target_modules == "all-linear"
    mixture = recipe.data.dataset_mixture
    assert mixture is not None and mixture.test_split_size == 0.05
    (source,) = mixture.datasets
    assert (source.id, source.config, source.split) == ("someone/pairs", "clean", "train_prefs")
    assert dict(source.column_map or {}) == {"conversation": "prompt", "better": "chosen"}
    assert recipe.training["eval_steps"] == 0.05  # 5 times in each of 4 epochs
    for key in ("special_tokens", "deepspeed", "model_type", "wandb_project"):
        assert key in told
    assert "not carried  special_tokens" in told


def test_llama_factory_says_which_line_is_missing(tmp_path: Path) -> None:
    converted, told = convert(tmp_path, foreign.LLAMA_FACTORY)
    assert not converted.complete and "# missing: dataset_name: <" in converted.text
    assert "missing      dataset_name: add the line `dataset_name:" in told
    (tmp_path / "ours.yaml").write_text(f"{converted.text}dataset_name: someone/pairs\n")
    recipe = load_recipe(tmp_path / "ours.yaml")
    assert recipe.method == "simpo" and recipe.training["gamma_beta_ratio"] == 0.4  # gamma 1 over beta 2.5
    assert recipe.training["sft_weight"] == 0.1 and recipe.resolved["chat_template"] == "gemma2"
    assert (recipe.model.lora_r, recipe.model.lora_alpha) == (8, 16)
    assert recipe.training["lr_scheduler_type"] == "linear" and "added        lr_scheduler_type: linear" in told


def test_names_of_a_register_that_is_there_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    entry = {"hf_hub_url": "someone/pairs", "ranking": True, "columns": {"prompt": "question", "chosen": "best"}}
    (tmp_path / "data/dataset_info.json").write_text(json.dumps({"my_pairs": entry}))
    converted, _ = convert(tmp_path, foreign.LLAMA_FACTORY)
    recipe = loaded(tmp_path, converted)
    assert recipe.data.dataset_name == "someone/pairs"
    assert dict(recipe.data.column_map or {}) == {"question": "prompt", "best": "chosen"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: gemma2-simpo\n", "is a recipe of this project already"),
        ("name: web\nimage: nginx\n", "is a recipe of no project that is known"),
        ("base_model: a/b\nrl: grpo\ndatasets: [{path: c/d}]\n", "make pairs draws and scores them first"),
        ("model_name_or_path: a/b\nstage: kto\npref_beta: 0.1\n", "stage kto cannot be converted"),
        ("base_model: a/b\nrl: simpo\nrl_beta: 0\ndatasets: [{path: c/d}]\n", "rl_beta 0 must be a number above 0"),
        ("model_name_or_path: a/b\ndataset_mixer: someone/pairs\n", "must be a mapping of data sets to shares"),
        ("model_name_or_path: a/b\ncpo_alpha: 1.0\n", "with loss_type: simpo it is method: simpo"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_a_remedy(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as error:
        convert(tmp_path, text)
    assert said in str(error.value)


def test_the_command_writes_yaml_and_tells_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("theirs.yaml").write_text(foreign.SIMPO)
    for words in (["theirs.yaml"], ["theirs.yaml", "--output", "new/ours.yaml"]):
        with pytest.raises(SystemExit) as end:
            main("convert", words)
        assert not end.value.code
    out, told = capsys.readouterr()
    assert out == Path("new/ours.yaml").read_text() and "changed      torch_dtype" in told
    assert load_recipe("new/ours.yaml").method == "simpo"
    with pytest.raises(SystemExit) as end:
        main("convert", ["theirs.yaml", "--output", "new/ours.yaml"])
    assert end.value.code == 2
