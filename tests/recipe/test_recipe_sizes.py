"""What the saves of a recipe write, said before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import save_gemma2

from alignment.recipe import load_recipe
from alignment.recipe.sizes import parameters_of, saves_of, saves_text


def test_the_weights_of_a_folder_are_counted(tmp_path: Path):
    model = save_gemma2(tmp_path / "model")
    from transformers import AutoModelForCausalLM

    counted = sum(weight.numel() for weight in AutoModelForCausalLM.from_pretrained(model).parameters())
    assert parameters_of(str(model)) == pytest.approx(counted, rel=0.05)


def test_the_reference_writes_a_model_and_a_checkpoint_of_129_gb():
    """9.24 billion weights: 2 bytes each in bf16; 2 + 4 (master) + 8 (moments) with the optimizer."""
    saves = saves_of(load_recipe("gemma2-simpo").resolved)
    assert (saves.final, saves.checkpoint) == (pytest.approx(18.48e9), pytest.approx(129.4e9, rel=0.01))
    text = saves_text(load_recipe("gemma2-simpo").resolved)
    assert "the final model, 18.5 GB; checkpoints every 30 minutes, 129 GB each, 1 kept, none at the last step" in text
    assert "A crash loses 30 minutes at most" in text


@pytest.mark.parametrize(
    ("name", "changes", "fragment"),
    [
        ("gemma2-simpo/lora", [], "checkpoints every 30 minutes, adapters and their optimizer alone, 1 kept"),
        ("quickstart", [], "checkpoints every 10 steps"),
        ("gemma2-simpo", ["--model_name_or_path", "someone/else"], "of unknown size until the model is here"),
        ("tiny/sft", ["--save_strategy", "no"], "A crash loses all of the run"),
    ],
)
def test_when_and_how_much(name: str, changes: list[str], fragment: str):
    assert fragment in saves_text(load_recipe(name, changes).resolved)
