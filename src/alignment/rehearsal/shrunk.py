"""The recipe with what a laptop cannot have replaced; every replacement is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.recipe import Recipe
from alignment.rehearsal.evaluation import shrunk_evaluation

STEPS, SAVE_EVERY, EVALUATE_EVERY, GLOBAL_BATCH = 6, 2, 3, 4
REPOSITORY = "me/rehearsal"

_DROPPED = frozenset(
    # other data, and other places
    "dataset_name dataset_config dataset_revision dataset_train_split dataset_mixture "
    "dataset_format column_map selection "
    "deduplicate decontaminate max_train_samples max_eval_samples model_revision tokenizer_name_or_path "
    "trust_remote_code resume_from_checkpoint num_train_epochs per_device_train_batch_size "
    "gradient_accumulation_steps overwrite_output_dir hub_token evaluation "
    # other hardware
    "load_in_4bit load_in_8bit bnb_4bit_quant_type use_bnb_nested_quant bnb_4bit_quant_storage "
    "fp16 tf32 torch_compile use_liger_kernel liger_kernel_config deepspeed fsdp fsdp_config "
    # decided by `_saves`
    "save_every_minutes save_strategy save_steps".split()
)
_CPU_ATTENTION = frozenset({"eager", "sdpa"})
_OFFLINE_TRACKERS = frozenset({"wandb", "trackio", "tensorboard"})
_MOST = {"dataset_num_proc": 2, "dataloader_num_workers": 2}
_TOLD = {
    "load_in_4bit": "weights are not quantized",
    "load_in_8bit": "weights are not quantized",
    "evaluation": "nothing is evaluated afterwards",
    "sample_evaluation": "answers to a few of the prompts, of a few tokens",
    "fp16": "fp16 is left out",
    "use_liger_kernel": "no Liger kernels",
    "torch_compile": "nothing is compiled",
    "deepspeed": "zero3_cpu instead of the recipe's deepspeed",
    "fsdp": "zero3_cpu instead of the recipe's fsdp",
}


def shrunk_settings(recipe: Recipe, *, model: Path, data: Path, output: Path) -> tuple[dict[str, Any], list[str]]:
    """Settings of the rehearsal's recipe, and what differs from `recipe` besides model and rows, in words.

    Prompts of a `sample_evaluation` are written beside `data`.
    """
    stated: Mapping[str, Any] = recipe.describe()["settings"]
    kept = {key: value for key, value in stated.items() if key not in _DROPPED}
    kept |= {key: min(most, kept[key]) for key, most in _MOST.items() if kept.get(key) is not None}
    told = [text for key, text in _TOLD.items() if stated.get(key)]
    trackers, absent = _trackers(stated.get("report_to"))
    changes: dict[str, Any] = {
        "method": recipe.method,
        "model_name_or_path": str(model),
        "dataset_name": str(data),
        "dataset_test_split": "test",
        "output_dir": str(output),
        "global_batch_size": GLOBAL_BATCH,
        "per_device_eval_batch_size": 2,
        "max_steps": STEPS,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": SAVE_EVERY if stated.get("load_best_model_at_end") else EVALUATE_EVERY,
        **_saves(stated),
        "report_to": trackers or "none",
        "hub_model_id": REPOSITORY,
        "use_cpu": True,
        "disable_tqdm": True,
        "acknowledge": sorted({*(stated.get("acknowledge") or ()), "few-steps", "unusual-batch"}),
    }
    if stated.get("sample_every"):
        changes["sample_every"] = SAVE_EVERY
    if absent:
        told.append(f"nothing is reported to {', '.join(absent)}")
    if recipe.sample_evaluation is not None:
        changes["sample_evaluation"] = shrunk_evaluation(recipe.sample_evaluation, data.parent)
    if recipe.data.chat_template is not None:
        changes["chat_template"] = recipe.data.chat_template
    attention = stated.get("attn_implementation")
    if attention is not None and attention not in _CPU_ATTENTION:
        changes["attn_implementation"] = "eager"
        told.append(f"eager attention instead of {attention}")
    optimizer = str(stated.get("optim", ""))
    if any(word in optimizer for word in ("8bit", "4bit", "bnb", "fused", "paged", "apex", "torchao")):
        changes["optim"] = "adamw_torch"
        told.append(f"adamw_torch instead of {optimizer}")
    told.append(f"{STEPS} steps of {GLOBAL_BATCH} rows")
    return {**kept, **changes}, list(dict.fromkeys(told))


def _saves(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Checkpoints as the recipe has them, by time or by steps, but soon."""
    if stated.get("save_every_minutes") is not None:
        return {"save_every_minutes": 1e-6}
    best = stated.get("save_strategy") == "best"
    return {"save_strategy": "best"} if best else {"save_strategy": "steps", "save_steps": SAVE_EVERY}


def _trackers(stated: Any) -> tuple[list[str], list[str]]:
    """Those that work without a network, and the others."""
    named = [stated] if isinstance(stated, str) else list(stated or ())
    wanted = [name for name in named if name != "none"]
    offline = [name for name in wanted if name in _OFFLINE_TRACKERS]
    return offline, [name for name in wanted if name not in _OFFLINE_TRACKERS]
