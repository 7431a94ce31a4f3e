"""The recipe with what a laptop cannot have replaced; every replacement is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.data import resolve_chat_template
from alignment.recipe import Recipe

STEPS, SAVE_EVERY, EVALUATE_EVERY, GLOBAL_BATCH = 6, 2, 3, 4

_DROPPED = frozenset(
    # other data, and other places
    "dataset_name dataset_config dataset_revision dataset_train_split dataset_mixture dataset_num_proc "
    "max_train_samples max_eval_samples model_revision tokenizer_name_or_path trust_remote_code resume_from_checkpoint "
    "sample_evaluation num_train_epochs per_device_train_batch_size gradient_accumulation_steps overwrite_output_dir "
    "run_name hub_model_id hub_token hub_revision hub_strategy hub_private_repo "
    # other hardware
    "load_in_4bit load_in_8bit bnb_4bit_quant_type use_bnb_nested_quant bnb_4bit_quant_storage "
    "fp16 tf32 torch_compile use_liger_kernel liger_kernel_config deepspeed fsdp fsdp_config".split()
)
_CPU_ATTENTION = frozenset({"eager", "sdpa"})
_TOLD = {
    "load_in_4bit": "weights are not quantised",
    "load_in_8bit": "weights are not quantised",
    "sample_evaluation": "no sampling before and after training",
    "fp16": "fp16 is left out",
    "use_liger_kernel": "no Liger kernels",
    "torch_compile": "nothing is compiled",
}


def shrunk_settings(recipe: Recipe, *, model: Path, data: Path, output: Path) -> tuple[dict[str, Any], list[str]]:
    """Settings of the rehearsal's recipe, and what differs from `recipe` besides model and rows, in words."""
    stated: Mapping[str, Any] = recipe.describe()["settings"]
    kept = {key: value for key, value in stated.items() if key not in _DROPPED}
    told = [text for key, text in _TOLD.items() if stated.get(key)]
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
        "eval_steps": EVALUATE_EVERY,
        "save_strategy": "steps",
        "save_steps": SAVE_EVERY,
        "report_to": "none",
        "push_to_hub": False,
        "use_cpu": True,
        "disable_tqdm": True,
    }
    if recipe.data.chat_template is not None:
        changes["chat_template"] = resolve_chat_template(recipe.data.chat_template, base=recipe.path.parent)
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
