"""The folder of a finished run, as `make train` leaves it, made in a second: real files, tiny model, no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny
import yaml
from transformers import Trainer

from alignment.data import SourceFacts
from alignment.data.splits import TokenSplits
from alignment.modeling.stopping import stop_token_ids
from alignment.recipe import Recipe, load_recipe
from alignment.report import build_card, build_manifest, plot_curves, write_manifest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RECIPE: dict[str, Any] = {
    "method": "simpo",
    "model_name_or_path": "google/gemma-2-2b-it",
    "dataset_name": "princeton-nlp/gemma2-ultrafeedback-armorm",
    "dataset_revision": COMMIT,
    "dataset_test_split": "test",
    "beta": 10.0,
    "gamma_beta_ratio": 0.5,
    "learning_rate": 8.0e-7,
    "max_length": 128,
    "max_prompt_length": 64,
    "num_train_epochs": 1,
    "max_grad_norm": 0.0,
    "global_batch_size": 8,
    "per_device_train_batch_size": 2,
    "bf16": False,
    "report_to": "none",
}
LOG = [
    {
        "step": step,
        "loss": 2.5 - step / 20,
        "grad_norm": 3.0,
        "learning_rate": 8e-7 * (20 - step) / 20,
        "rewards/chosen": -3.0 + step / 20,
        "rewards/rejected": -3.5 - step / 10,
        "rewards/accuracies": 0.5 + step / 50,
        "rewards/margins": 0.5 + 0.15 * step,
        "throughput/tokens_per_second": 1000.0 * step,
        "throughput/peak_memory_gib": 2.5,
    }
    for step in range(5, 21, 5)
]
RESULTS = {
    "train_runtime": 61.25,
    "train_samples_per_second": 2.6,
    "eval_loss": 1.75,
    "eval_rewards/accuracies": 0.8125,
}


def write_recipe(path: Path, **changes: Any) -> Path:
    """A recipe file; a change to `None` leaves the key out."""
    settings = {key: value for key, value in {**RECIPE, **changes}.items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings))
    return path


def source(name: str = RECIPE["dataset_name"], *, split: str = "train", rows: int = 160, **changes: Any) -> SourceFacts:
    facts = {"config": None, "revision": COMMIT, "fingerprint": "f" * 64, "weight": 1.0, "dropped": {}}
    return SourceFacts(**{"id": name, "split": split, "rows": rows, **facts, **changes})


def finished_run(
    folder: Path, recipe: Recipe | None = None, *, sources: tuple[SourceFacts, ...] | None = None, **facts: Any
) -> Path:
    """Save a tiny Gemma-2 with everything that a run leaves beside it; `facts` go to `build_manifest`."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = recipe or load_recipe(write_recipe(folder / "gemma2-tiny.yaml", output_dir=str(folder)))
    tokenizer = tiny.gemma_tokenizer()
    model = tiny.gemma2(len(tokenizer))
    model.generation_config.eos_token_id = stop_token_ids(tokenizer)
    trainer = Trainer(model=model, args=recipe.config(world_size=1), processing_class=tokenizer, train_dataset=[{}])
    trainer.state.max_steps = trainer.state.global_step = 20
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    sources = sources or (source(), source(split="test", rows=16))
    splits = TokenSplits(range(160), range(16), sources, prepared={}, told=())
    timing = {"train_seconds": 61.25, "wall_seconds": 75.0}
    manifest = build_manifest(
        recipe, trainer=trainer, splits=splits, **{"timing": timing, "attention_backend": "eager", **facts}
    )
    write_manifest(folder / "run_manifest.json", manifest)
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": LOG, "best_model_checkpoint": None}))
    (folder / "all_results.json").write_text(json.dumps(RESULTS))
    plot_curves(LOG, folder / "training_curves.png")
    build_card(folder).save(folder / "README.md")
    return folder
