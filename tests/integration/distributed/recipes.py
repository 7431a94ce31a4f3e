"""A tiny Gemma-2 with its data and recipes in a folder, as a user would have them."""

from __future__ import annotations

from pathlib import Path

import yaml
from tiny import preference_rows, save_gemma2, write_jsonl

ROWS, STEPS = 44, 12
"""Two epochs of six steps of 8 pairs; the sixth has 4."""

COMMON = {
    "dataset_name": "train.jsonl",
    "learning_rate": 1.0e-3,
    "adam_epsilon": 1.0e-3,  # keeps an update proportional to its gradient, so that rounding stays rounding
    "global_batch_size": 8,
    "num_train_epochs": 2,
    "max_length": 96,
    "max_grad_norm": 1.0,
    "warmup_steps": 0,
    "logging_steps": 1,
    "save_steps": 2,
    "report_to": "none",
    "disable_tqdm": True,
    "attn_implementation": "eager",
}
METHOD = {
    "simpo": {"beta": 10.0, "gamma_beta_ratio": 0.5, "max_prompt_length": 64, "packing": False},
    "dpo": {"beta": 0.1},
}


def workshop(folder: Path, method: str, *, rows: list[dict] | None = None, **changes: object) -> Path:
    """Model, rows and recipe in `folder`; returns the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model").exists():
        save_gemma2(folder / "model")
    data = write_jsonl(folder / "train.jsonl", rows or preference_rows(ROWS))
    recipe = {
        "method": method,
        "model_name_or_path": str(folder / "model"),
        **COMMON,
        **METHOD[method],
        "dataset_name": str(data),
        "output_dir": str(folder / "out"),
        **changes,
    }
    path = folder / f"{method}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
