"""Exports: loaded again, equal to the run, in a folder of their own; the run's folder is only read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import gguf
import pytest
import tiny
import torch
from finished import finished_run, write_recipe
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignment.cli.app import main
from alignment.recipe import load_recipe

LLAMA_CPP = Path(__file__).parent / "llama_cpp"
STOPS = [1, 5]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run of adapters, which are kept beside the merged model."""
    home = tmp_path_factory.mktemp("export")
    base = tiny.save_gemma2(home / "base")
    recipe = load_recipe(write_recipe(home / "mine.yaml", output_dir=str(home / "run"), model_name_or_path=str(base)))
    folder = finished_run(home / "run", recipe)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    adapted.save_pretrained(folder / "adapter")
    adapted.merge_and_unload().save_pretrained(folder)
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": STOPS}))
    return folder


def export(run: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main("export", [str(run.parent / "mine.yaml"), *words])
    return int(end.value.code or 0)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def dtypes(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118


def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation="eager")
    return model(torch.tensor([[2, 7, 8, 9, 30, 60]])).logits.detach()


@pytest.mark.parametrize(("form", "stored", "close"), [("safetensors", "BF16", 0.2), ("merged", "F32", 1e-4)])
def test_a_folder_is_complete_and_equal_to_the_run_that_stays_as_it_was(run, tmp_path, form, stored, close):
    before, target = contents(run), tmp_path / "out"
    assert export(run, "--format", form, "--output", str(target)) == 0
    assert contents(run) == before
    assert dtypes(target) == {stored}
    assert (logits(target) - logits(run)).abs().max() < close
    assert json.loads((target / "generation_config.json").read_text())["eos_token_id"] == STOPS
    templates = [AutoTokenizer.from_pretrained(folder).chat_template for folder in (target, run)]
    assert templates[0] == templates[1]


def test_a_gguf_file_stops_where_the_run_stops_and_holds_its_template(run, tmp_path):
    before, target = contents(run), tmp_path / "out"
    options = ["--format", "gguf", "--output", str(target), "--llama_cpp", str(LLAMA_CPP), "--precision", "f32"]
    assert export(run, *options) == 0
    assert contents(run) == before
    assert [path.name for path in target.iterdir()] == ["run-f32.gguf"]
    reader = gguf.GGUFReader(target / "run-f32.gguf")
    ids = [reader.get_field(f"tokenizer.ggml.{name}_token_id").contents() for name in ("eos", "eot")]
    assert ids == STOPS
    assert reader.get_field("tokenizer.chat_template").contents() == AutoTokenizer.from_pretrained(run).chat_template


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ("template", "is not the one that the model was trained with"),
        ("weights", "differs from the run by"),
        ("crash", "pre-tokenizer was not recognized"),
    ],
)
def test_a_gguf_file_that_is_not_the_run_is_not_kept(run, tmp_path, monkeypatch, capsys, spoilt, said):
    monkeypatch.setenv("SPOILT", spoilt)
    monkeypatch.setenv("LLAMA_CPP", str(LLAMA_CPP))
    assert export(run, "--format", "gguf", "--output", str(tmp_path / "out")) == 2
    assert said in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "ggfu"], "did you mean gguf?"),
        (["--format", "gguf"], "convert_hf_to_gguf.py of llama.cpp is not on the PATH"),
        (["--format", "gguf", "--llama_cpp", "nowhere"], "holds no convert_hf_to_gguf.py"),
        (["--format", "gguf", "--precision", "q3", "--llama_cpp", str(LLAMA_CPP)], "must be one of f32, f16, bf16"),
        (["--output", "{run}/out"], "lies in the run's own folder"),
        (["--output", "{run}"], "exists"),
        (["--output_dir", "elsewhere"], "holds no finished run"),
    ],
)
def test_what_cannot_be_exported_is_told_and_nothing_is_written(run, tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = contents(run.parent)
    assert export(run, *(word.format(run=run) for word in words)) == 2
    assert said in capsys.readouterr().err
    assert contents(run.parent) == before


def test_a_run_of_whole_weights_has_nothing_to_merge(run, tmp_path, capsys):
    whole = tmp_path / "run"
    write_recipe(tmp_path / "mine.yaml", output_dir=str(whole))
    finished_run(whole, load_recipe(tmp_path / "mine.yaml"))
    assert export(whole, "--format", "merged") == 2
    assert "trained no adapters" in capsys.readouterr().err
