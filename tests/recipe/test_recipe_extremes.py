"""Whatever a file or a command line holds, it is read in bounded time and memory, or refused in our own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.errors import RecipeError
from alignment.recipe import load_recipe

GOOD = """
method: simpo
model_name_or_path: google/gemma-2-9b-it
dataset_name: a/b
learning_rate: 1e-6
"""
DIGITS = "9" * 5000
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 20)}]\n" for at in range(1, 12))


def faults(folder: Path, text: str = "", *overrides: str) -> str:
    path = folder / "recipe.yaml"
    path.write_text(GOOD + text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    told = str(caught.value)
    told.encode("utf-8")
    return told


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        (f"max_length: {DIGITS}", "must be a whole number"),
        (f"beta: {DIGITS}.5", "must be a number"),
        (f"beta: 1e{DIGITS}", "must be a number"),
        (f"save_total_limit: {'9' * 390}", "must be between -9007199254740992 and 9007199254740992"),
        (f"warmup_steps: {'9' * 390}\nwarmup_ratio: 0.1", "must be between"),
        ("max_length: ²", "max_length ² must be a whole number"),
        (f"report_to: {'[' * 5000}{']' * 5000}", "more than 24 levels of nesting"),
        (f"lr_scheduler_kwargs: {'{a: ' * 3000}1{'}' * 3000}", "more than 24 levels of nesting"),
        (BOMB, "is one of more than 50000 values; remove the YAML aliases"),
        (f"output_dir: {'x' * 300}", "is longer than a file system takes"),
        (f"output_dir: {'x/' * 3000}", "is longer than a file system takes"),
        (f"chat_template: {'x' * 5000}", "does not exist"),
        (f"tokenizer_name_or_path: /{'x' * 5000}", "does not exist"),
        (f"extends: {'x' * 5000}", "is not a recipe"),
        ('output_dir: "a\\0b"', "output_dir a\\x00b must be text that can be written to a file"),
        ('run_name: "a\\ud800b"', "run_name a\\ud800b must be text that can be written to a file"),
        ('chat_template: "{{ \\ud800 }}"', "must be text that can be written"),
        ('"a\\ud800": 1', "a\\ud800 is not a recipe key"),
        ("global_batch_size: 1000000000000", "must be at least 1 and at most 1048576"),
        (
            "per_device_train_batch_size: 1024\ngradient_accumulation_steps: 1048576",
            "= 1073741824 rows, and 1048576 is",
        ),
        ("dataloader_num_workers: 1000000", "must be at least 0 and at most 128"),
        ("dataset_num_proc: 100000", "must be at least 1 and at most 512"),
        ("num_train_epochs: 1e308", "must be above 0 and at most 10000"),
        (f"method: {DIGITS}", "is stated twice"),
    ],
)
def test_extreme_values_are_refused(tmp_path, text, fragment):
    assert fragment in faults(tmp_path, text)


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("--dataset_mixture.datasets[²].id", "x"), "--dataset_mixture.datasets[²].id is not a key; write --key"),
        (("--beta=",), "beta is given an empty value; write --beta=null"),
        (("--beta.", "1"), "--beta. is not a key"),
        (("--a..b", "1"), "--a..b is not a key"),
        (("--a[1", "1"), "--a[1 is not a key"),
        (("--a[99999999999]", "1"), "--a[99999999999] is not a key"),
        ((f"--{'a.' * 5000}b", "1"), "has more than 24 parts"),
        (("--beta", DIGITS), "must be a number"),
        (("--report_to", "[" * 5000), "more than 24 levels of nesting"),
        (("--output_dir", "a\udc80b"), "output_dir a\\udc80b must be text"),
        (("--max_steps", "1" + "0" * 300), "must be between"),
    ],
)
def test_extreme_overrides_are_refused(tmp_path, words, fragment):
    assert fragment in faults(tmp_path, "", *words)


@pytest.mark.parametrize("source", ["x" * 5000, "a\0b", "a\ud800", "../" * 3000, "\udc80.yaml"])
def test_names_that_no_file_can_have(source):
    with pytest.raises(RecipeError, match="is not a"):
        load_recipe(source)


def test_divisors_of_large_batches_are_found_at_once(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD + "global_batch_size: 1048573")
    with pytest.raises(RecipeError, match="run 1 or 1048573 processes"):
        load_recipe(path).config(world_size=2)


def test_many_faults_are_cut_short(tmp_path):
    told = faults(tmp_path, "".join(f"k{at}: 1\n" for at in range(300)))
    assert told.count("is not a recipe key") == 100 and told.endswith("and 200 more of them.")
