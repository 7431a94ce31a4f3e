"""Every shipped recipe loads, is checked and says what the published table says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from alignment.cli.app import main
from alignment.recipe import available_recipes, load_recipe
from alignment.recipe.chat_templates import shipped_templates
from alignment.recipe.files import stated_method
from alignment.recipe.loop_recipe import load_loop_recipe
from alignment.recipe.pairs_recipe import load_pairs_recipe

ROOT = Path(__file__).parents[2]
EVERY = sorted((ROOT / "recipes").glob("*/*.yaml"))
PAIRS = [path for path in EVERY if stated_method(path) == "pairs"]
LOOPS = [path for path in EVERY if stated_method(path) == "loop"]
RECIPES = [path for path in EVERY if path not in [*PAIRS, *LOOPS]]

# base model, data set, beta, gamma/beta, learning rate: the table of the released SimPO models
RELEASED = {
    "mistral-base-simpo": (
        "alignment-handbook/zephyr-7b-sft-full", "HuggingFaceH4/ultrafeedback_binarized", 2.0, 0.8, 3e-7),
    "mistral-instruct-simpo": (
        "mistralai/Mistral-7B-Instruct-v0.2", "princeton-nlp/mistral-instruct-ultrafeedback", 2.5, 0.1, 5e-7),
    "llama3-base-simpo": (
        "princeton-nlp/Llama-3-Base-8B-SFT", "HuggingFaceH4/ultrafeedback_binarized", 2.0, 0.5, 6e-7),
    "llama3-instruct-simpo": (
        "meta-llama/Meta-Llama-3-8B-Instruct", "princeton-nlp/llama3-ultrafeedback", 2.5, 0.55, 1e-6),
    "llama3-instruct-v0.2-simpo": (
        "meta-llama/Meta-Llama-3-8B-Instruct", "princeton-nlp/llama3-ultrafeedback-armorm", 10, 0.3, 1e-6),
    "gemma2-simpo": ("google/gemma-2-9b-it", "princeton-nlp/gemma2-ultrafeedback-armorm", 10, 0.5, 8e-7),
}  # fmt: skip


# method, beta, learning rate, rows a step, epochs, max_length: what the alignment-handbook's files say, on 8 GPUs
# (32 for the mixture of experts, 64 for smollm3/mid, 16 for smollm3/apo, 1 for qlora)
HANDBOOK = {
    "zephyr-7b-beta/sft-full": ("sft", None, 2e-5, 128, 1, 2048),
    "zephyr-7b-beta/sft-qlora": ("sft", None, 2e-4, 8, 1, 2048),
    "zephyr-7b-beta/dpo-full": ("dpo", 0.01, 5e-7, 128, 1, 1024),
    "zephyr-7b-beta/dpo-qlora": ("dpo", 0.01, 5e-6, 16, 1, 1024),
    "zephyr-7b-gemma/sft": ("sft", None, 2e-5, 128, 3, 2048),
    "zephyr-7b-gemma/dpo": ("dpo", 0.05, 5e-7, 128, 2, 1024),
    "zephyr-141b-A35b": ("orpo", 0.05, 5e-6, 32, 3, 2048),
    "constitutional-ai/sft-anthropic": ("sft", None, 2e-5, 256, 1, 2048),
    "constitutional-ai/sft-grok": ("sft", None, 2e-5, 256, 1, 2048),
    "constitutional-ai/dpo": ("dpo", 0.1, 5e-7, 16, 3, 1024),
    "starchat2-15b/sft": ("sft", None, 2e-5, 128, 3, 2048),
    "starchat2-15b/dpo": ("dpo", 0.05, 5e-7, 128, 2, 1024),
    "smollm/sft": ("sft", None, 1e-3, 128, 1, 2048),
    "smollm2/sft": ("sft", None, 3e-4, 128, 2, 8192),
    "smollm2/sft-small": ("sft", None, 1e-3, 128, 2, 8192),
    "smollm2/dpo": ("dpo", 0.5, 1e-6, 128, 3, 1024),
    "smollm2/dpo-small": ("dpo", 0.5, 1e-6, 128, 2, 1024),
    "smollm3/mid": ("sft", None, 2e-5, 128, 5, 32768),
    "smollm3/sft": ("sft", None, 2e-5, 128, 5, 65536),
    "smollm3/apo": ("dpo", 0.05, 1e-6, 32, 1, 24576),
}
# learning rate of the SimPO authors' DPO models
SIBLINGS = {
    "mistral-base-dpo": 5e-7,
    "mistral-instruct-dpo": 5e-7,
    "llama3-base-dpo": 5e-7,
    "llama3-instruct-dpo": 7e-7,
    "llama3-instruct-v0.2-dpo": 3e-7,
    "gemma2-dpo": 5e-7,
}


@pytest.mark.parametrize("name", HANDBOOK)
def test_the_handbooks_settings(name: str) -> None:
    recipe = load_recipe(name)
    training = recipe.training
    settings = (recipe.method, training.get("beta"), training["learning_rate"], recipe.global_batch_size)
    assert (*settings, training["num_train_epochs"], training["max_length"]) == HANDBOOK[name]


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_dpo_sibling_has_the_model_and_rows_of_its_simpo_recipe(name: str) -> None:
    recipe, simpo = load_recipe(name), load_recipe(name.replace("-dpo", "-simpo"))
    assert (recipe.model, recipe.data) == (simpo.model, simpo.data)
    assert (recipe.training["beta"], recipe.training["learning_rate"]) == (0.01, SIBLINGS[name])
    assert recipe.training["max_length"] == simpo.training["max_length"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_recipe_trains_on_a_test_split(path: Path) -> None:
    data = load_recipe(path).data
    sources = data.dataset_mixture.datasets if data.dataset_mixture else ()
    assert not [split for split in (data.dataset_train_split, *(s.split for s in sources)) if "test" in split]


def test_every_file_is_found_by_name() -> None:
    names = {str(path.relative_to(ROOT / "recipes").with_suffix("")).removesuffix("/config") for path in EVERY}
    assert names <= set(available_recipes())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_is_valid_from_anywhere(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(path)
    assert load_recipe(recipe.name).resolved == recipe.resolved
    assert recipe.training["output_dir"].startswith("outputs/")


@pytest.mark.parametrize("path", PAIRS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_recipe_of_pairs_is_valid_from_anywhere(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_pairs_recipe(path)
    assert load_pairs_recipe(recipe.name).resolved == recipe.resolved
    assert recipe.folder == Path("outputs", recipe.name.replace("/", "-"))


@pytest.mark.parametrize("path", LOOPS, ids=lambda path: path.parent.name)
def test_every_recipe_of_a_loop_is_valid_from_anywhere(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_loop_recipe(path)
    assert load_loop_recipe(recipe.name).describe() == recipe.describe()
    assert recipe.folder == Path("outputs", recipe.name)


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_header_says_hardware_data_command_and_expectation(path: Path) -> None:
    text = path.read_text()
    header = text[: re.search(r"^[^#\n]", text, re.MULTILINE).start()]  # type: ignore[union-attr]
    for word in ("Hardware", "Data", "Command", "Expected"):
        assert f"# {word} " in header
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_models(name: str) -> None:
    model, data, beta, ratio, learning_rate = RELEASED[name]
    recipe = load_recipe(name)
    assert (recipe.method, recipe.model.model_name_or_path, recipe.data.dataset_name) == ("simpo", model, data)
    assert recipe.training["beta"] == beta and recipe.training["gamma_beta_ratio"] == ratio
    assert recipe.training["learning_rate"] == learning_rate


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
@pytest.mark.parametrize("name", [*RELEASED, "gemma2-dpo"])
def test_the_common_settings_of_the_released_models(name: str, world_size: int) -> None:
    config = load_recipe(name).config(world_size=world_size)
    assert config.per_device_train_batch_size * config.gradient_accumulation_steps * world_size == 128
    assert (config.num_train_epochs, config.lr_scheduler_type, config.optim) == (1, "cosine", "adamw_torch")
    assert config.get_warmup_steps(460) == 46
    assert config.bf16 and config.seed == 42 and config.max_grad_norm == 0
    assert config.gradient_checkpointing and config.gradient_checkpointing_kwargs == {"use_reentrant": False}
    assert (config.logging_steps, config.eval_steps, config.eval_strategy) == (5, 400, "steps")
    if name != "mistral-base-simpo":
        assert config.max_length == 2048 and getattr(config, "max_prompt_length", 1800) == 1800


def test_gemma2_simpo_is_the_reference() -> None:
    recipe = load_recipe("gemma2-simpo")
    config = recipe.config(world_size=8)
    assert (config.per_device_train_batch_size, config.gradient_accumulation_steps) == (2, 8)
    assert config.per_device_eval_batch_size == 4
    assert (recipe.model.dtype, recipe.model.attn_implementation) == ("float32", "eager")
    assert (config.truncation_mode, config.truncation, config.generation_prompt) == (
        "keep_end",
        "reference",
        "completion",
    )
    assert (config.loss_type, config.label_smoothing, config.sft_weight) == ("sigmoid", 0, 0)
    assert (recipe.data.dataset_train_split, recipe.data.dataset_test_split) == ("train", "test")
    assert recipe.data.chat_template == shipped_templates()["gemma2"].read_text()
    assert recipe.resolved["chat_template"] == "gemma2"


def test_gemma2_dpo_is_the_sibling() -> None:
    recipe = load_recipe("gemma2-dpo")
    assert (recipe.training["beta"], recipe.training["learning_rate"]) == (0.01, 5e-7)
    simpo = load_recipe("gemma2-simpo")
    assert (recipe.data, recipe.model) == (simpo.data, simpo.model)


OBJECTIVES = {
    "gemma2-simpo/simper": ("simper", {}),
    "gemma2-simpo/repo": ("repo", {"gamma": 0.4}),
    "gemma2-simpo/alphapo": ("alphapo", {"beta": 10, "gamma_beta_ratio": 0.5, "alpha": 0.25}),
    "gemma2-simpo/cpo": ("simpo", {"sft_weight": 0.05}),
    "gemma2-dpo/length-normalized": ("dpo", {"loss_type": ["sigmoid_norm"], "beta": 5}),
    "gemma2-dpo/ipo": ("dpo", {"loss_type": ["ipo"], "beta": 0.1}),
    "gemma2-dpo/apo-zero": ("dpo", {"loss_type": ["apo_zero"], "beta": 0.1, "learning_rate": 2e-7}),
    "gemma2-dpo/wpo": ("dpo", {"loss_type": ["sigmoid"], "beta": 0.01, "use_weighting": True}),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_other_objectives_change_nothing_but_the_objective(name: str) -> None:
    method, settings = OBJECTIVES[name]
    recipe, base = load_recipe(name), load_recipe(name.partition("/")[0])
    config, reference = recipe.config(world_size=8), base.config(world_size=8)
    assert recipe.method == method and (recipe.data, recipe.model) == (base.data, base.model)
    assert {key: getattr(config, key) for key in settings} == settings
    for key in {"learning_rate", "max_length", "warmup_steps", "max_grad_norm", "seed"} - {*settings}:
        assert getattr(config, key) == getattr(reference, key)
    assert config.train_batch_size * config.gradient_accumulation_steps * 8 == 128


def test_the_gemma2_recipes_take_a_small_model_and_local_rows(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    overrides = ["--model_name_or_path", str(tmp_path / "model"), "--dataset_name", str(tmp_path / "rows.jsonl")]
    recipe = load_recipe("gemma2-simpo", [*overrides, "--eval_strategy", "no", "--global_batch_size=4"])
    assert recipe.data.dataset_test_split is None and recipe.config(world_size=1).gradient_accumulation_steps == 2


CHECKS = [
    (["gemma2-simpo"], 0, "gamma_beta_ratio"),
    (["gemma2-simpo", "--beta", "-1"], 2, "beta -1 must be above 0"),
    (["gemma2-simpo", "tiny/dpo", "nowhere"], 2, "recipe nowhere is not a recipe"),
    (["--all"], 0, "gemma2-simpo/lora: valid (simpo, google/gemma-2-9b-it)"),
]


@pytest.mark.parametrize(("arguments", "code", "expected"), CHECKS)
def test_a_check_prints_a_summary_or_the_faults(
    arguments: list[str], code: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main("check", arguments)
    assert end.value.code == code
    assert expected in "".join(capsys.readouterr())


@pytest.mark.slow
def test_the_script_exits_with_2_and_no_traceback() -> None:
    command = [sys.executable, "scripts/check_recipe.py", "gemma2-simpo", "--gama_beta_ratio", "1"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 2 and "did you mean gamma_beta_ratio?" in finished.stderr
    assert "Traceback" not in finished.stderr
