"""YAML and command line in, one typed, frozen, checked `Recipe` out."""

from __future__ import annotations

from .schema import DataArguments, DatasetMixture, DatasetSource, ModelArguments

__all__ = ["DataArguments", "DatasetMixture", "DatasetSource", "ModelArguments"]
