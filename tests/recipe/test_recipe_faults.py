"""Every bad recipe gives one message that names the key, the rule and the remedy; several faults come together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.errors import RecipeError
from alignment.methods import METHODS
from alignment.recipe import load_recipe

KNOWN = ", ".join(METHODS)

GOOD = {
    "method": "simpo",
    "model_name_or_path": "google/gemma-2-9b-it",
    "dataset_name": "princeton-nlp/gemma2-ultrafeedback-armorm",
    "learning_rate": 8e-7,
    "max_length": 2048,
    "max_prompt_length": 1800,
    "beta": 10,
    "global_batch_size": 128,
}


def write(folder: Path, changes: dict, *, drop: tuple[str, ...] = (), name: str = "recipe.yaml") -> Path:
    stated = {key: value for key, value in {**GOOD, **changes}.items() if key not in drop}
    path = folder / name
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in stated.items()))
    return path


def message(folder: Path, changes: dict, *, drop: tuple[str, ...] = (), overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(folder, changes, drop=drop), overrides)
    return str(caught.value)


def test_the_good_recipe_is_good(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, {}))
    assert recipe.training["beta"] == 10 and recipe.training["output_dir"] == "outputs/recipe"


ONE_FAULT = [
    # unknown, renamed and foreign keys
    ({"gama_beta_ratio": 0.5}, "gama_beta_ratio is not a recipe key; did you mean gamma_beta_ratio?"),
    ({"torch_dtype": "bfloat16"}, "torch_dtype is not a recipe key; write dtype"),
    ({"evaluation_strategy": "steps"}, "evaluation_strategy is not a recipe key; write eval_strategy"),
    ({"dataset_mixer": {"a/b": 1.0}}, "dataset_mixer is not a recipe key; write dataset_mixture"),
    ({"method": "repo", "gamma": -1, "beta": None}, "gamma -1 must be at least 0; its authors used 0.4 to 0.6"),
    ({"method": "repo"}, "beta 10 belongs to dpo, simpo, orpo and alphapo; this recipe's method is repo"),
    ({"method": "alphapo", "alpha": 11}, "alpha 11 must be at least -10 and at most 10; its authors used 0.25"),
    ({"share_answers": True, "packing": False}, "share_answers True needs packing: true"),
    (
        {"share_answers": True, "dataset_name": None, "dataset_mixture": {"datasets": [{"id": "a/b"}]}},
        "share_answers True needs the pairs of a prompt one after another, and dataset_mixture shuffles them",
    ),
    ({"gamma": 5}, "gamma is not a recipe key; write gamma_beta_ratio: gamma divided by beta"),
    ({"simpo_gamma": 5}, "simpo_gamma is not a recipe key; write gamma_beta_ratio"),
    ({"cpo_alpha": 0}, "cpo_alpha is not a recipe key; write sft_weight"),
    ({"activation_checkpointing": True}, "activation_checkpointing is not a recipe key; write gradient_checkpointing"),
    ({"use_flash_attention_2": True}, "write attn_implementation: flash_attention_2"),
    ({"no_packing": True}, "no_packing is not a recipe key; write packing: false"),
    ({"hub_token": "hf_x"}, "hub_token hf_x is not set in a recipe; a recipe is published"),
    ({"deepspeed": "ds.json"}, "deepspeed ds.json is not set in a recipe; choose it at launch"),
    ({"f_divergence_type": "reverse_kl"}, "belongs to dpo; this recipe's method is simpo"),
    (
        {"label_smoothing_factor": 0.1},
        "label_smoothing_factor has no effect on a preference loss; write label_smoothing",
    ),
    ({"zzzz": 1}, "zzzz is not a recipe key; remove it"),
    # unknown keys at depth
    (
        {"dataset_mixture": {"datasets": [{"id": "a/b", "wieght": 1}]}},
        "dataset_mixture.datasets[0].wieght is not a key that can stand here; did you mean weight?",
    ),
    ({"dataset_mixture": {"datasets": [{"id": "a/b"}], "sed": 1}}, "dataset_mixture.sed is not a key"),
    ({"dataset_mixture": {"datasets": [{"split": "train"}]}}, "dataset_mixture.datasets[0].id must be stated"),
    ({"dataset_mixture": {}}, "dataset_mixture.datasets must be stated"),
    ({"dataset_mixture": ["a/b"]}, "dataset_mixture ['a/b'] must be a mapping"),
    ({"dataset_mixture": {"datasets": ["a/b"]}}, "dataset_mixture.datasets[0] a/b must be a mapping"),
    ({"sample_evaluation": {"prompt": "x"}}, "sample_evaluation.prompt is not a key that can stand here; did you mean"),
    # types
    ({"learning_rate": "fast"}, "learning_rate fast must be a number; such as 0.1 or 5e-7"),
    ({"learning_rate": None}, "learning_rate null must be a number; give a value"),
    ({"learning_rate": True}, "learning_rate true must be a number"),
    ({"max_length": 2048.5}, "max_length 2048.5 must be a whole number"),
    ({"max_length": False}, "max_length false must be a whole number"),
    ({"max_length": [1]}, "max_length [1] must be a whole number"),
    ({"bf16": "maybe"}, "bf16 maybe must be true or false"),
    ({"bf16": 2}, "bf16 2 must be true or false"),
    ({"model_name_or_path": ["a"]}, "model_name_or_path ['a'] must be text"),
    ({"model_name_or_path": None}, "model_name_or_path must be stated"),
    ({"gradient_checkpointing": "sometimes"}, "gradient_checkpointing sometimes must be one of auto or true or false"),
    ({"gradient_checkpointing_kwargs": "x"}, "gradient_checkpointing_kwargs x must be a mapping or null"),
    # words
    ({"method": "simp"}, f"method simp must be one of {KNOWN}; did you mean simpo or simper?"),
    ({"method": 3}, "method 3 must be one of"),
    ({"loss_type": "sigmoide"}, "loss_type sigmoide must be one of sigmoid, hinge; did you mean sigmoid?"),
    ({"truncation_mode": "keep_middle"}, "truncation_mode keep_middle must be one of keep_end, keep_start"),
    ({"eval_strategy": "step"}, "eval_strategy step must be one of no, steps, epoch; did you mean steps?"),
    ({"lr_scheduler_type": "cosin"}, "did you mean cosine"),
    ({"optim": "adam"}, "optim adam must be one of"),
    ({"dtype": "fp32"}, "dtype fp32 must be one of float32, bfloat16, float16, auto"),
    ({"attn_implementation": "flash"}, "attn_implementation flash must be one of eager"),
    ({"report_to": "wandbb"}, "report_to wandbb must be one of none"),
    ({"report_to": ["wandb", "x"]}, "report_to[1] x must be one of none"),
    ({"on_bad_row": "ignore"}, "on_bad_row ignore must be one of error, drop"),
    ({"log_level": "loud"}, "log_level loud must be one of debug"),
    # ranges
    ({"learning_rate": 0}, "learning_rate 0 must be above 0"),
    ({"learning_rate": float("nan")}, "learning_rate NaN must be a number"),
    ({"beta": -1}, "beta -1 must be above 0"),
    ({"gamma_beta_ratio": -0.1}, "gamma_beta_ratio -0.1 must be at least 0"),
    ({"label_smoothing": 0.5}, "label_smoothing 0.5 must be at least 0 and below 0.5"),
    ({"sft_weight": -1}, "sft_weight -1 must be at least 0"),
    ({"max_grad_norm": -1}, "max_grad_norm -1 must be at least 0; 0 switches clipping off"),
    ({"seed": -1}, "seed -1 must be at least 0"),
    ({"per_device_train_batch_size": 0}, "per_device_train_batch_size 0 must be at least 1"),
    ({"global_batch_size": 0}, "global_batch_size 0 must be at least 1"),
    ({"num_train_epochs": 0}, "num_train_epochs 0 must be above 0"),
    ({"max_steps": 0}, "max_steps 0 must be at least 1, or -1"),
    ({"warmup_ratio": 1}, "warmup_ratio 1 must be at least 0 and below 1"),
    ({"warmup_steps": 10.5}, "warmup_steps 10.5 must be a whole number of steps"),
    ({"logging_steps": 0}, "logging_steps 0 must be above 0"),
    ({"save_steps": 1.5}, "save_steps 1.5 must be a whole number of steps, or a fraction"),
    ({"use_peft": True, "lora_r": 0}, "lora_r 0 must be at least 1"),
    ({"max_prompt_length": 0}, "max_prompt_length 0 must be at least 1"),
    ({"output_dir": ""}, 'output_dir "" must not be empty text'),
    # relations
    (
        {"max_prompt_length": 2048},
        "max_prompt_length 2048 must be below max_length 2048; lower it, or raise max_length",
    ),
    ({"loss_type": "hinge", "label_smoothing": 0.1}, "label_smoothing 0.1 must be 0 with loss_type hinge"),
    ({"warmup_ratio": 0.1, "warmup_steps": 10}, "warmup_ratio 0.1 contradicts warmup_steps 10; keep one"),
    ({"bf16": True, "fp16": True}, "bf16 True contradicts fp16: true"),
    ({"fp16": True, "dtype": "float16"}, "dtype float16 cannot hold the weights that fp16: true trains"),
    ({"load_in_4bit": True}, "load_in_4bit True cannot be trained without adapters; add use_peft: true"),
    ({"use_peft": True, "load_in_4bit": True, "load_in_8bit": True}, "load_in_8bit True contradicts load_in_4bit"),
    ({"lora_r": 64}, "lora_r 64 has no effect without use_peft: true"),
    ({"use_peft": True, "bnb_4bit_quant_type": "fp4"}, "bnb_4bit_quant_type fp4 has no effect without load_in_4bit"),
    (
        {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 7},
        "must be a multiple of per_device_train_batch_size 3 x gradient_accumulation_steps 7 = 21",
    ),
    ({"eval_strategy": "steps", "dataset_test_split": None}, "dataset_test_split null must name a split"),
    ({"eval_strategy": "steps", "dataset_test_split": "train"}, "dataset_test_split train must not be the split that"),
    ({"eval_strategy": "epoch", "do_eval": False}, "do_eval False contradicts eval_strategy epoch"),
    (
        {"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "steps"},
        "load_best_model_at_end True needs save_strategy steps to be eval_strategy epoch",
    ),
    ({"dataset_mixture": {"datasets": [{"id": "a/b"}]}}, "contradicts dataset_mixture; keep one of the two"),
    (
        {"neftune_noise_alpha": 5},
        "neftune_noise_alpha 5 scales its noise by the length of a row, which packing changes",
    ),
    ({"torch_compile": True}, "torch_compile True would compile for every new length of a packed row"),
    ({"gradient_checkpointing": "auto", "method": "dpo"}, "gradient_checkpointing auto must be true or false for dpo"),
    # places
    ({"dataset_name": "data/nowhere.jsonl"}, "dataset_name data/nowhere.jsonl does not exist in"),
    ({"dataset_name": "not a name"}, "dataset_name not a name is neither a Hub id nor a file or folder"),
    ({"model_name_or_path": "./nowhere"}, "model_name_or_path ./nowhere does not exist in"),
    ({"model_name_or_path": "~nobody/model"}, "model_name_or_path ~nobody/model does not exist in"),
    ({"model_name_or_path": str(Path(__file__).parent)}, "holds no config.json, so it is no model"),
    ({"model_name_or_path": "a/b/c"}, "model_name_or_path a/b/c is neither a Hub id nor a folder"),
    ({"model_name_or_path": "bundled:SmolLM3"}, "bundled:SmolLM3 is not a bundled model"),
    ({"chat_template": "gemma3000"}, "chat_template gemma3000"),
    ({"chat_template": "./missing.jinja"}, "chat_template ./missing.jinja does not exist in"),
    ({"chat_template": "{% for x %}"}, "chat_template"),
    ({"hub_model_id": "a b"}, "hub_model_id a b is not a name that the Hub takes"),
    ({"output_dir": __file__}, "is a file; name a folder"),
    (
        {"sample_evaluation": {"prompts": "none.jsonl", "rule": "x"}},
        "sample_evaluation.prompts none.jsonl does not exist",
    ),
]


@pytest.mark.parametrize(
    ("changes", "expected"), ONE_FAULT, ids=[f"{next(iter(c))}-{i}" for i, (c, _) in enumerate(ONE_FAULT)]
)
def test_each_fault_is_named_with_its_rule_and_remedy(tmp_path: Path, changes: dict, expected: str) -> None:
    assert expected in message(tmp_path, changes)


MISSING = [
    ("method", f"method must be stated: one of {KNOWN}; write method: simpo"),
    ("model_name_or_path", "model_name_or_path must be stated"),
    ("dataset_name", "dataset_name must be stated, unless dataset_mixture is"),
]


@pytest.mark.parametrize(("key", "expected"), MISSING)
def test_what_must_be_stated(tmp_path: Path, key: str, expected: str) -> None:
    assert expected in message(tmp_path, {}, drop=(key,))


MIXTURES = [
    ({"datasets": []}, "dataset_mixture.datasets must list at least one data set"),
    ({"datasets": [{"id": "a/b", "weight": 0}]}, "dataset_mixture.datasets[0].weight 0 must be above 0 and at most 1"),
    (
        {"datasets": [{"id": "a/b", "weight": 1.5}]},
        "dataset_mixture.datasets[0].weight 1.5 must be above 0 and at most 1",
    ),
    ({"datasets": [{"id": "a/b"}], "test_split_size": -5}, "dataset_mixture.test_split_size -5 must be a share"),
    ({"datasets": [{"id": "a/b"}], "test_split_size": 2.5}, "dataset_mixture.test_split_size 2.5 must be a share"),
    ({"datasets": [{"id": "a/b"}, {"id": "./x"}]}, "dataset_mixture.datasets[1].id ./x does not exist"),
    ({"datasets": [{"id": "a/b", "columns": ["chosen"]}]}, "must keep rejected, which simpo trains on"),
]


@pytest.mark.parametrize(("mixture", "expected"), MIXTURES)
def test_faults_of_a_mixture(tmp_path: Path, mixture: dict, expected: str) -> None:
    assert expected in message(tmp_path, {"dataset_mixture": mixture}, drop=("dataset_name",))


def test_a_mixture_without_test_rows_cannot_be_evaluated(tmp_path: Path) -> None:
    changes = {"dataset_mixture": {"datasets": [{"id": "a/b"}]}, "eval_strategy": "steps", "dataset_test_split": "test"}
    told = message(tmp_path, changes, drop=("dataset_name",))
    assert "dataset_mixture.test_split_size must be stated, since eval_strategy steps needs test data" in told
    assert "dataset_test_split test belongs to dataset_name; remove it; write dataset_mixture.test_split_size" in told


def test_all_faults_come_at_once_each_with_its_place(tmp_path: Path) -> None:
    changes = {"gama_beta_ratio": 1, "beta": -2, "max_prompt_length": 4096, "bf16": "x", "chat_template": "nope"}
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, changes), ["--seed", "-1", "--nonsense", "3"])
    told = {fault.key: fault for fault in caught.value.faults}
    assert set(told) == {*changes, "seed", "nonsense"}
    assert told["beta"].source == "recipe.yaml:7" and told["gama_beta_ratio"].source == "recipe.yaml:9"
    assert told["seed"].source == told["nonsense"].source == "command line"


def test_a_key_of_another_method_says_whose_it_is(tmp_path: Path) -> None:
    told = message(tmp_path, {"method": "dpo", "gamma_beta_ratio": 0.5}, drop=("max_prompt_length",))
    whose = "belongs to simpo and alphapo; this recipe's method is dpo; remove it, or change method"
    assert f"gamma_beta_ratio 0.5 {whose}" in told


def test_keys_are_checked_even_when_the_method_is_wrong(tmp_path: Path) -> None:
    told = message(tmp_path, {"method": "kto", "gama_beta_ratio": 1, "beta": 0})
    assert "method kto" in told and "gama_beta_ratio" in told and "beta 0 must be above 0" in told


def test_a_script_refuses_the_recipe_of_another_method(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"method simpo must be dpo for this script; run scripts/simpo\.py"):
        load_recipe(write(tmp_path, {}, drop=("max_prompt_length",)), method="dpo")
    assert load_recipe(write(tmp_path, {}, drop=("method",)), method="simpo").method == "simpo"


OVERRIDES = [
    (("--gama_beta_ratio", "1"), "gama_beta_ratio is not a recipe key; did you mean gamma_beta_ratio? [command line]"),
    (("--learning_rate", "fast"), "learning_rate fast must be a number"),
    (("--learning_rate",), "learning_rate true must be a number"),
    (("learning_rate=1",), "learning_rate=1 lacks its dashes; write --key value or --key=value"),
    (("1e-6",), "1e-6 is not an override"),
    (("--seed", "1", "--seed", "2"), "seed is stated twice; keep one of the two"),
    (("--beta", "1", "2"), "beta [1, 2] must be a number"),
    (("--run_name", "a", "b"), "run_name ['a', 'b'] must be text or null; put quotes around text that has spaces"),
    (("--lora_target_modules", "[a, b"), "--lora_target_modules is not valid YAML at line 1"),
    (("--dataset_mixture.datasets[3].weight", "1"), "asks for entry 3, but there is no list to take it from"),
    (("--extends", "tiny/simpo"), "extends tiny/simpo is not set in a recipe; it belongs into the file"),
    (("--max_length", "1000"), "max_prompt_length 1800 must be below max_length 1000"),
]


@pytest.mark.parametrize(("overrides", "expected"), OVERRIDES)
def test_overrides_are_as_strict_as_the_file(tmp_path: Path, overrides: tuple[str, ...], expected: str) -> None:
    assert expected in message(tmp_path, {}, overrides=overrides)


BAD_YAML = [
    ("method: simpo\nbeta: 1\nbeta: 2\n", "beta is stated twice, first on line 2; keep one of the two. [bad.yaml:3]"),
    ("method: simpo\n  beta: 1\n", "is not valid YAML at line 2, column 7"),
    ("beta: [1\n", "is not valid YAML at line 2"),
    ("run_name: a: b\n", "is not valid YAML at line 1"),
    ("- method: simpo\n", "must hold `key: value` lines"),
    ("", "must hold `key: value` lines"),
    ("simpo\n", "must hold `key: value` lines"),
    ("beta: !!python/name:os.system x\n", "beta must not carry the YAML tag"),
    ("? [a]\n: 1\n", "recipe has a key that is not a word"),
    ("dataset_mixture: &m\n  datasets: [*m]\n", "must not contain itself"),
]


@pytest.mark.parametrize(("text", "expected"), BAD_YAML)
def test_what_is_not_a_mapping_of_yaml(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert expected in str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read: it is not UTF-8 text"):
        load_recipe(tmp_path / "bad.yaml")


@pytest.mark.parametrize("source", ["gema2-simpo", "nowhere/config.yaml", ""])
def test_a_recipe_that_is_not_there_lists_those_that_are(source: str) -> None:
    with pytest.raises(RecipeError, match=r"available: .*gemma2-simpo, .*gemma2-simpo/lora"):
        load_recipe(source)


def test_a_near_name_is_proposed() -> None:
    with pytest.raises(RecipeError, match=r"did you mean gemma2-simpo\?"):
        load_recipe("gema2-simpo")
