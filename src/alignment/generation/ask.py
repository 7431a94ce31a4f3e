"""Ask a trained model something."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import TextStreamer

from alignment.errors import Fault, SetupError
from alignment.modeling.load import load_policy, load_tokenizer
from alignment.modeling.stopping import answering_config

if TYPE_CHECKING:
    from alignment.recipe import ModelArguments, Recipe


def answer(
    model: ModelArguments,
    prompt: str,
    *,
    chat_template: str | None = None,
    max_new_tokens: int = 200,
    temperature: float = 0.0,
) -> str:
    """Answer `prompt` as a chat user would see it, streaming the answer to stdout.

    Stops at the template's end of turn as well as at eos; bf16 on a GPU; greedy at temperature 0.
    """
    tokenizer = load_tokenizer(model, chat_template=chat_template)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    policy = load_policy(model).to(device).eval()
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    ).to(device)
    config = answering_config(policy.generation_config, tokenizer)
    config.update(max_new_tokens=max_new_tokens, do_sample=temperature > 0)
    config.update(
        **({"temperature": temperature} if temperature > 0 else {"temperature": None, "top_p": None, "top_k": None})
    )
    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    output = policy.generate(**inputs, generation_config=config, streamer=streamer)
    return tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def trained_model(recipe: Recipe) -> Path:
    """The folder that `recipe` was trained into. Raises `SetupError` when there is no model in it."""
    folder = Path(recipe.config(world_size=1).output_dir)
    if not (folder / "config.json").exists():
        raise SetupError(
            Fault(
                key="output_dir",
                value=str(folder),
                rule="holds no trained model yet",
                remedy=f"run `make train RECIPE={recipe.name}` first, or name a model with --model",
            )
        )
    return folder
