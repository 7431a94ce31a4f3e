"""The saved folder is the trained model: adapters on tied embeddings, tensors, and log-probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import preference_rows, save_gemma2, write_jsonl
from transformers import AutoModelForCausalLM

from alignment.modeling.peft import with_adapter
from alignment.output.saved import NotWhatWasTrained, check_saved, conversation_outputs
from alignment.recipe import ModelArguments, load_recipe
from alignment.run.train import run

ADAPTED = [
    {"lora_target_modules": ["q_proj", "lm_head"]},
    {"lora_target_modules": ["embed_tokens"]},
    {"lora_target_modules": ["q_proj"], "lora_modules_to_save": ["lm_head"]},
    {"lora_target_modules": ["q_proj"], "lora_modules_to_save": ["embed_tokens"]},
]


@pytest.mark.parametrize("adapted", ADAPTED)
def test_an_adapter_on_one_of_two_tied_embeddings_is_merged_into_that_one(tmp_path, adapted):
    base = save_gemma2(tmp_path / "model")
    rows = write_jsonl(tmp_path / "rows.jsonl", preference_rows(8))
    settings = {
        "method": "simpo", "model_name_or_path": str(base), "dataset_name": str(rows), "max_length": 96,
        "max_prompt_length": 48, "global_batch_size": 4, "learning_rate": 0.05, "max_steps": 3, "warmup_steps": 0,
        "dtype": "float32", "use_cpu": True, "save_strategy": "no", "use_peft": True, "lora_r": 4,
        "lora_dropout": 0.0, "output_dir": str(tmp_path / "out"), **adapted,
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(settings))
    run(load_recipe(tmp_path / "recipe.yaml"))
    ids, cpu = list(range(6, 60)), torch.device("cpu")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    before = conversation_outputs(plain, ids, cpu)
    trained = conversation_outputs(with_adapter(tmp_path / "out/adapter", plain), ids, cpu)
    saved = conversation_outputs(AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32), ids, cpu)
    assert (trained - before).abs().max() > 0.05
    torch.testing.assert_close(saved, trained, rtol=0, atol=1e-4)


def _state(folder: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()


def _change(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_what_differs_from_the_trained_model_is_named(tmp_path):
    folder = save_gemma2(tmp_path)
    state, ids = _state(folder), list(range(6, 40))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    logps = conversation_outputs(model, ids, torch.device("cpu"))
    arguments = ModelArguments(model_name_or_path=str(folder), dtype="float32")
    check_saved(folder, state, logps, ids, arguments)
    with pytest.raises(NotWhatWasTrained, match="differ from the trained model's by"):
        check_saved(folder, state, logps + 0.01, ids, arguments)
    _change(folder, lambda tensors: tensors["model.norm.weight"].add_(1.0))
    with pytest.raises(NotWhatWasTrained, match=r"model\.norm\.weight in .* is not what was trained"):
        check_saved(folder, state, logps, ids, arguments)
    _change(folder, lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(NotWhatWasTrained, match=r"lacks model\.norm\.weight"):
        check_saved(folder, state, logps, ids, arguments)
