"""The recipe: one YAML file, what it extends and what the command line changes, checked and frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.errors import Fault, RecipeError, sentence_of
from alignment.recipe.batch import plan_batch
from alignment.recipe.blame import likely_key
from alignment.recipe.check import check_document
from alignment.recipe.files import find_recipe, read_recipe, recipe_name
from alignment.recipe.frozen import thaw
from alignment.recipe.overrides import apply_overrides, parse_overrides
from alignment.recipe.schema import DataArguments, ModelArguments

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from alignment.recipe.evaluation_settings import EvaluationSettings
    from alignment.recipe.sample_evaluation import SampleEvaluation


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run is told. Nothing in it can change; a change is another recipe."""

    name: str
    """`gemma2-simpo`, `gemma2-simpo/lora`, or the stem of a file outside `recipes/`."""
    path: Path
    """The YAML file that was asked for."""
    files: tuple[Path, ...]
    """That file and those it extends, in this order."""
    method: str
    """Key of `alignment.methods.METHODS`."""
    model: ModelArguments
    data: DataArguments

    sample_evaluation: SampleEvaluation | None
    """What is measured before and after training; its paths are absolute."""
    evaluation: EvaluationSettings | None
    """What `make evaluate` measures; its paths are absolute."""
    global_batch_size: int | None
    """Pairs (or conversations) of one optimizer step over all processes."""
    training: Mapping[str, Any]
    """Keyword arguments of the method's config class: those stated, and output_dir."""
    resolved: Mapping[str, Any]
    """Every key that is stated after `extends` and overrides, nested as in YAML, with checked values."""

    def describe(self) -> dict[str, Any]:
        """What a manifest records: plain dicts and lists, no path of this machine but those the recipe states."""
        return {
            "name": self.name,
            "method": self.method,
            "files": [recipe_name(file) for file in self.files],
            "settings": thaw(self.resolved),
        }

    def config(self, *, world_size: int) -> TrainingArguments:
        """The method's config object for a run of `world_size` processes.

        Micro-batch and accumulation are derived from `global_batch_size`. Without an accelerator the run is told to
        use the CPU, which is what it would do anyway, so that bf16 recipes work there too.

        Raises:
            RecipeError: the batch cannot be made on so many processes, or transformers refuses a setting here.
        """
        from alignment.methods import METHODS

        config_class = METHODS[self.method].config_class()
        arguments: dict[str, Any] = thaw(self.training)
        batch = plan_batch(self.resolved, world_size)
        if isinstance(batch, Fault):
            raise RecipeError(batch, where=self.name)
        if batch is not None:
            arguments["per_device_train_batch_size"] = batch.micro_batch
            arguments["gradient_accumulation_steps"] = batch.accumulation
        if "use_cpu" not in arguments and not _has_accelerator():
            arguments["use_cpu"] = True
        if arguments.get("use_cpu") and arguments.get("activation_offloading"):
            rule = "moves activations from a GPU to the host, and this machine has no GPU"
            raise RecipeError(Fault(key="activation_offloading", value=True, rule=rule, remedy="remove it"))
        try:
            return config_class(**arguments)
        except (ValueError, ImportError) as error:
            raise RecipeError(_refused(error, arguments), where=self.name) from error


def load_recipe(source: str | Path, overrides: Sequence[str] = (), *, method: str | None = None) -> Recipe:
    """The recipe `source` (a name, or a path to a .yaml file) with `overrides` from the command line.

    `method` is what the calling script trains; a recipe that names another is at fault. Nothing is imported from or
    asked of a device, so a recipe for eight GPUs can be checked on a laptop.

    Raises:
        RecipeError: with every fault of the recipe and the overrides.
    """
    path = find_recipe(source)
    document, files = read_recipe(path)
    changes, faults = parse_overrides(overrides)
    document = apply_overrides(document, changes)
    document.faults.extend(faults)
    name = recipe_name(path)
    checked = check_document(document, path=path, name=name, method=method)
    return Recipe(
        name=name,
        path=path,
        files=files,
        method=checked.method,
        model=checked.model,
        data=checked.data,
        sample_evaluation=checked.sample_evaluation,
        evaluation=checked.evaluation,
        global_batch_size=checked.resolved.get("global_batch_size"),
        training=checked.training,
        resolved=checked.resolved,
    )


def _has_accelerator() -> bool:
    import torch

    return torch.accelerator.is_available()


def _refused(error: Exception, arguments: Mapping[str, Any]) -> Fault:
    """The fault behind what a config's own checks say, named after the setting that the message is about."""
    message = sentence_of(error)
    key = likely_key(error, arguments) or "training arguments"
    remedy = "train on the CPU with use_cpu: true, or write bf16: false" if key == "bf16" else ""
    said = message.removeprefix(f"{key} ").removeprefix(f"--{key} ")
    return Fault(
        key=key, value=arguments.get(key), rule=f"is refused by transformers on this machine: {said}", remedy=remedy
    )
