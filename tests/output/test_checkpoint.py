"""The final save: weights first."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from tiny import gemma2, gemma_tokenizer

from alignment.output.final_save import SavedInPart, save_model, without_compiler


def test_weights_are_on_the_disk_when_what_goes_with_them_cannot_be_saved(tmp_path):
    model = gemma2()
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(SavedInPart, match=f"the weights are saved in {tmp_path}, but not what goes with them"):
        save_model(model, gemma_tokenizer(), tmp_path, state=model.state_dict(), dtype=torch.float32)
    saved = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in saved.items())
    assert len(saved) == len(model.state_dict()) - 1  # the head is tied to the embedding


def test_a_compiled_models_weights_go_by_the_models_own_names():
    state = {"_orig_mod.model.layers.0._orig_mod.mlp.weight": torch.ones(1)}
    assert list(without_compiler(state)) == ["model.layers.0.mlp.weight"]
