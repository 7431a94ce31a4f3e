"""`run_manifest.json`: everything that is needed to say what a run was, and to run it again."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.files import write_json
from alignment.modeling.parameters import whole_numel
from alignment.redaction import portable, portable_command
from alignment.report.base_model import model_origin
from alignment.report.machine import git_facts, hardware_facts, version_facts

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments

    from alignment.recipe import Recipe

SCHEMA = 1
"""Raised when a key changes its meaning."""


def build_manifest(
    recipe: Recipe,
    *,
    trainer: Trainer,
    splits: Any,
    timing: Mapping[str, Any] | None = None,
    attention_backend: str | None = None,
    resumed_from: str | None = None,
    batch: Mapping[str, Any] | None = None,
    tracking: Mapping[str, Any] | None = None,
    guards: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All facts of a run as plain JSON types.

    Call it on every rank or on the first one only: it communicates with no other rank.

    Args:
        recipe: as loaded; `recipe.resolved` is recorded.
        trainer: a `transformers.Trainer`, asked for its arguments, model and accelerator only.
        splits: what `alignment.data.prepare_splits` returned.
        timing: seconds and rates, such as `{"started": "2026-01-31T12:00:00Z", "train_seconds": 61.0,
            "wall_seconds": 75.2, "tokens_per_second": 5210.0}`.
        attention_backend: the attention implementation that ran.
        resumed_from: name of the checkpoint the run went on from.
        batch: added to `batch_facts`, for example what packing planned.
        tracking: links to experiment trackers, such as `{"wandb": "https://..."}`.
        guards: `{"warnings": [...], "alarms": [...]}`, what was told before the start and what was raised since.
    """
    root = Path.cwd()
    arguments = trainer.args
    tokenizer = getattr(trainer, "processing_class", None)
    facts = {
        "schema": SCHEMA,
        "name": recipe.name,
        "method": recipe.method,
        "recipe_path": recipe.path,
        "recipe": recipe.resolved,
        "model": {
            **model_origin(recipe.model.model_name_or_path, revision=recipe.model.model_revision),
            **describe_model(trainer.model, tokenizer),
        },
        "data": data_facts(splits),
        "distributed": distributed_facts(trainer.accelerator),
        "batch": {**batch_facts(arguments, world_size=trainer.accelerator.num_processes), **(batch or {})},
        "optimization": optimization_facts(trainer),
        "seeds": {
            "seed": arguments.seed,
            "data_seed": arguments.data_seed,
            "full_determinism": arguments.full_determinism,
        },
        "attention_backend": attention_backend,
        "timing": dict(timing or {}),
        "resumed_from": resumed_from,
        "hardware": hardware_facts(),
        "versions": version_facts(),
        "code": git_facts(Path(__file__).parent),
        "tracking": dict(tracking or {}),
        **{"warnings": [], "alarms": [], **(guards or {})},
    }
    published = portable(facts, root=root)
    published["command"] = portable_command([_program(), *sys.argv[1:]], root=root)
    return published


def _program() -> str:
    """A script, or the one command line, however it was called."""
    path = Path(sys.argv[0])
    return "alignment" if path.as_posix().endswith("alignment/cli/__main__.py") else path.as_posix()


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write what `build_manifest` said."""
    write_json(path, manifest)


def distributed_facts(accelerator: Accelerator) -> dict[str, Any]:
    """`{"type", "zero_stage", "world_size", "mixed_precision"}`; the stage is `None` without DeepSpeed."""
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    facts = {
        "type": accelerator.distributed_type.value,
        "zero_stage": None if plugin is None else plugin.zero_stage,
        "world_size": accelerator.num_processes,
        "mixed_precision": accelerator.mixed_precision,
    }
    if fsdp is not None:
        facts["fsdp_version"] = fsdp.fsdp_version
    return facts


def batch_facts(arguments: TrainingArguments, *, world_size: int) -> dict[str, Any]:
    """How the rows of one optimizer step are spread: `global = per device x micro-batches x world`."""
    per_device = arguments.per_device_train_batch_size
    micro_batches = arguments.gradient_accumulation_steps
    return {
        "global_batch_size": per_device * micro_batches * world_size,
        "per_device_train_batch_size": per_device,
        "micro_batches": micro_batches,
        "world_size": world_size,
    }


def optimization_facts(trainer: Trainer) -> dict[str, Any]:
    """Optimizer, schedule and the clipping that truly acts (`0.0` = none), whichever library does it."""
    arguments = trainer.args
    engine: Any = trainer.model_wrapped
    by_engine = callable(getattr(engine, "gradient_clipping", None))
    return {
        "optimizer": arguments.optim,
        "learning_rate": arguments.learning_rate,
        "lr_scheduler_type": arguments.lr_scheduler_type,
        "warmup_steps": arguments.get_warmup_steps(trainer.state.max_steps),
        "weight_decay": arguments.weight_decay,
        "num_train_epochs": arguments.num_train_epochs,
        "optimizer_steps": trainer.state.global_step,
        "clipping": {
            "max_grad_norm": arguments.max_grad_norm,
            "effective": float(engine.gradient_clipping() if by_engine else arguments.max_grad_norm or 0.0),
            "by": "deepspeed" if by_engine else "trainer",
        },
    }


def data_facts(splits: Any) -> dict[str, Any]:
    """Rows of each split, what was found in them, and where they came from (ids, revisions, fingerprints).

    For each source, `rows` and `dropped` together are the rows that were read.
    """
    prepared = splits.prepared
    return {
        "rows": {
            "train": len(splits.train),
            "test": None if splits.test is None else len(splits.test),
        },
        "noted": {name: dict(rows.findings.noted) for name, rows in prepared.items()},
        "tokens": {name: rows.statistics.as_dict() for name, rows in prepared.items()},
        "sources": list(splits.sources),
        "cleaning": [found.as_facts() for found in splits.cleaning],
    }


def describe_model(model: Any, tokenizer: PreTrainedTokenizerBase | None = None) -> dict[str, Any]:
    """Class, size and precision of a `torch.nn.Module`, right under ZeRO-3, FSDP and adapters too."""
    parameters = list(model.parameters())
    config = getattr(model, "config", None)
    total = sum(map(whole_numel, parameters))
    trainable = sum(whole_numel(weight) for weight in parameters if weight.requires_grad)
    adapted = hasattr(model, "get_nb_trainable_parameters")
    if adapted:
        # peft knows how many weights a 4-bit tensor holds; the adapters are no part of the model itself.
        trainable, everything = model.get_nb_trainable_parameters()
        total = everything - trainable
    facts = {
        "class": type(model.get_base_model() if adapted else model).__name__,
        "model_type": getattr(config, "model_type", None),
        "parameters": total,
        "trainable_parameters": trainable,
        "training_dtypes": sorted({str(weight.dtype).removeprefix("torch.") for weight in parameters}),
    }
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, str):
        facts["chat_template_sha256"] = hashlib.sha256(template.encode()).hexdigest()
    return facts
