from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
import tiny
import torch
from finished import RECIPE, finished_run, write_recipe
from transformers import Trainer

from alignment.recipe import load_recipe
from alignment.redaction import portable, portable_command
from alignment.report.base_model import model_origin
from alignment.report.machine import git_facts, hardware_facts, version_facts
from alignment.report.manifest import describe_model, optimization_facts, write_manifest

CONTRACT = {
    "distributed",
    "batch",
    "versions",
    "recipe",
    "data",
    "model",
    "seeds",
    "timing",
    "attention_backend",
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("runs") / "run"
    command = [
        "scripts/simpo.py",
        "--config",
        str(folder / "gemma2-tiny.yaml"),
        f"--output_dir={folder}",
        "--seed",
        "7",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", command)
        patch.chdir(folder.parent)
        finished_run(folder, resumed_from="checkpoint-10")
    return json.loads((folder / "run_manifest.json").read_text())


def test_it_has_what_the_contract_names(manifest: dict):
    assert set(manifest) >= CONTRACT
    assert manifest["distributed"] == {"type": "NO", "zero_stage": None, "world_size": 1, "mixed_precision": "no"}
    assert manifest["batch"] == {
        "global_batch_size": 8,
        "per_device_train_batch_size": 2,
        "micro_batches": 4,
        "world_size": 1,
    }
    assert manifest["recipe"]["beta"] == RECIPE["beta"]
    assert manifest["seeds"]["seed"] == 42
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["attention_backend"] == "eager"
    assert manifest["resumed_from"] == "checkpoint-10"
    assert manifest["timing"] == {"train_seconds": 61.25, "wall_seconds": 75.0}


def test_it_tells_what_was_trained_on_what(manifest: dict):
    assert manifest["data"]["rows"] == {"train": 160, "test": 16}
    assert [source["split"] for source in manifest["data"]["sources"]] == ["train", "test"]
    assert manifest["model"]["class"] == "Gemma2ForCausalLM"
    model = tiny.gemma2(len(tiny.gemma_tokenizer()))
    assert manifest["model"]["parameters"] == manifest["model"]["trainable_parameters"] == model.num_parameters()
    assert manifest["model"]["training_dtypes"] == ["float32"]
    assert (manifest["model"]["base_model"], manifest["model"]["license"]) == ("google/gemma-2-2b-it", "gemma")


def test_paths_of_this_machine_are_cut(manifest: dict):
    assert manifest["command"] == [
        "scripts/simpo.py",
        "--config",
        "run/gemma2-tiny.yaml",
        "--output_dir=run",
        "--seed",
        "7",
    ]
    assert manifest["recipe"]["output_dir"] == "run"
    assert manifest["recipe_path"] == "run/gemma2-tiny.yaml"


@dataclass(frozen=True)
class Facts:
    where: Path
    weight: float


def test_portable_values_are_plain_and_tell_nothing_about_the_machine():
    root = Path("/home/ann/repo")
    value = MappingProxyType(
        {
            "data": "/home/ann/repo/data/pairs.jsonl",
            "model": "/scratch/ann/my-model",
            "elsewhere": Path("/home/ann/repository/x"),
            "hub": "google/gemma-2-9b-it",
            "template": "/{{ not a path }}\nsecond line",
            "hub_token": "hf_abc",
            "eos_token": "<eos>",
            "wandb_api_key": "k",
            "facts": Facts(root / "a", 0.5),
            "set": {2, 1},
            "dtype": torch.float32,
            "flag": True,
            "nothing": None,
        }
    )
    assert portable(value, root=root) == {
        "data": "data/pairs.jsonl",
        "model": "my-model",
        "elsewhere": "x",
        "hub": "google/gemma-2-9b-it",
        "template": "/{{ not a path }}\nsecond line",
        "eos_token": "<eos>",
        "facts": {"where": "a", "weight": 0.5},
        "set": [1, 2],
        "dtype": "torch.float32",
        "flag": True,
        "nothing": None,
    }


def test_a_command_tells_neither_places_nor_secrets():
    root = Path("/home/ann/repo")
    words = [
        "train",
        "dataset_name=/scratch/ann/pairs",
        "--output_dir=/data/z",
        "--hub_token=x=/y",
        "--hub_token",
        "hf_x",
    ]
    words += ["--model", "/home/ann/repo/m", "--report_to", "[a,/home/ann/repo/b]", "lora.hub_token=k"]
    assert portable_command(words, root=root) == [
        *("train", "dataset_name=pairs", "--output_dir=z", "--hub_token=...", "--hub_token", "..."),
        *("--model", "m", "--report_to", "[a,b]", "lora.hub_token=..."),
    ]


def test_paths_of_this_machine_are_cut_inside_a_text_too():
    text = f"read from {tempfile.gettempdir()}/x/y.jsonl, then and/or https://host{tempfile.gettempdir()}/z"
    assert (
        portable(text, root=Path("/nowhere")) == f"read from y.jsonl, then and/or https://host{tempfile.gettempdir()}/z"
    )


def test_adapters_are_counted_apart_from_the_model():
    from peft import LoraConfig, get_peft_model

    plain = tiny.gemma2(300)
    total = plain.num_parameters()
    adapted = get_peft_model(plain, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    facts = describe_model(adapted)
    # q_proj maps 64 -> 4 heads x 16; rank 4 adds 4 x 64 + 64 x 4 in each of two layers
    assert (facts["class"], facts["parameters"], facts["trainable_parameters"]) == ("Gemma2ForCausalLM", total, 1024)


@pytest.mark.parametrize(("stated", "effective"), [(0.0, 0.0), (1.0, 1.0)])
def test_the_clipping_that_acts_is_told(stated: float, effective: float, tmp_path: Path):
    recipe = load_recipe(write_recipe(tmp_path / "r.yaml", max_grad_norm=stated, output_dir=str(tmp_path)))
    trainer = Trainer(model=tiny.gemma2(300), args=recipe.config(world_size=1), train_dataset=[{}])
    trainer.state.max_steps = 40
    facts = optimization_facts(trainer)
    assert facts["clipping"] == {"max_grad_norm": stated, "effective": effective, "by": "trainer"}


def test_writing_is_all_or_nothing(tmp_path: Path):
    path = tmp_path / "run_manifest.json"
    write_manifest(path, {"a": "é"})
    with pytest.raises(TypeError):
        write_manifest(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": "é"}


def test_git_tells_the_commit_and_whether_the_code_was_changed(tmp_path: Path):
    assert git_facts(tmp_path) is None
    environment = {**os.environ, **dict.fromkeys(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"], "t")}
    environment |= dict.fromkeys(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"], "t@t")
    (tmp_path / "code.py").write_text("x = 1\n")
    for words in (["init", "-q"], ["add", "code.py"], ["commit", "-qm", "one"]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True, env=environment)
    facts = git_facts(tmp_path)
    assert facts is not None and len(facts["commit"]) == 40 and not facts["dirty"]
    (tmp_path / "code.py").write_text("x = 2\n")
    assert git_facts(tmp_path) == {**facts, "dirty": True}


def test_the_machine_is_told_without_its_name():
    facts = {**hardware_facts(), **version_facts()}
    assert facts["cpu"] and facts["cpu_cores"] >= 1 and facts["ram_gib"] > 0.1
    assert {"python", "platform", "torch", "transformers"} <= set(facts)
    assert os.uname().nodename not in (facts["platform"], facts["cpu"])


def test_where_a_model_comes_from(tmp_path: Path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# Model\n")
    assert model_origin(str(tmp_path)) == {
        "base_model": str(tmp_path),
        "source": "local",
        "revision": None,
        "license": "mit",
    }
    bundled = model_origin("bundled:SmolLM2-135M-Instruct")
    assert (bundled["base_model"], bundled["license"]) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
    assert model_origin("someone/unknown")["license"] is None
