"""What every suite is given: the recipe, what it says of evaluation, the device, and a place on disk."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alignment.evaluation.results import FOLDER
from alignment.evaluation.store import ItemStore
from alignment.recipe.evaluation_settings import EvaluationSettings

if TYPE_CHECKING:
    from alignment.evaluation.subjects import Subject
    from alignment.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Context:
    """One call of `make evaluate`."""

    recipe: Recipe
    settings: EvaluationSettings
    device: str
    """`cuda` or `cpu`."""
    dtype: Literal["bfloat16", "float32"]
    """Precision that models are loaded in."""

    @classmethod
    def of(cls, recipe: Recipe) -> Context:
        """For this machine: bf16 on a GPU, float32 on a CPU."""
        import torch

        gpu = torch.cuda.is_available()
        return cls(
            recipe=recipe,
            settings=recipe.evaluation or EvaluationSettings(),
            device="cuda" if gpu else "cpu",
            dtype="bfloat16" if gpu else "float32",
        )

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        return Path(self.recipe.training["output_dir"]) / FOLDER

    @property
    def versions(self) -> dict[str, str]:
        """Of what computes."""
        return installed("torch", "transformers")

    def store(self, subject: Subject, name: str, about: Mapping[str, Any]) -> ItemStore:
        """The items of one measurement of one model."""
        return ItemStore(self.folder / subject.slug / name, about)


def installed(*names: str) -> dict[str, str]:
    """Versions of Python and of those distributions that are here."""
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
