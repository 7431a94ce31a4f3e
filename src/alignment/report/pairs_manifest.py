"""`pairs_manifest.json`: everything that is needed to say what a data set of pairs is, and to make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.data.disk_cache import digest_of_file
from alignment.errors import Fault, SetupError
from alignment.files import write_json
from alignment.pairs.dataset import file_of
from alignment.pairs.prompts import Prompts
from alignment.recipe.pairs_recipe import PairsRecipe
from alignment.redaction import portable
from alignment.report.base_model import model_origin
from alignment.report.machine import git_facts, version_facts

PAIRS_MANIFEST = "pairs_manifest.json"
SCHEMA = 1
"""Raised when a key changes its meaning."""


def write_pairs_manifest(
    recipe: PairsRecipe, prompts: Prompts, *, rows: Mapping[str, int], statistics: Mapping[str, Any], decides: str
) -> None:
    """Write it; `decides` is the digest of everything that decides the rows."""
    facts = {
        "schema": SCHEMA,
        "name": recipe.name,
        "recipe": {"method": "pairs", **recipe.resolved},
        "model": model_origin(recipe.settings.model_name_or_path, revision=recipe.settings.model_revision),
        "prompts": dict(prompts.facts),
        "rows": dict(rows),
        "statistics": statistics,
        "decided_by": decides,
        "files": {split: _file(file_of(recipe.folder, split)) for split in rows},
        "versions": version_facts(),
        "code": git_facts(Path(__file__).parent),
    }
    write_json(recipe.folder / PAIRS_MANIFEST, portable(facts, root=Path.cwd()))


def read_pairs_manifest(folder: Path) -> dict[str, Any]:
    """What was written.

    Raises:
        SetupError: the folder holds no finished data set of pairs.
    """
    try:
        return dict(json.loads((folder / PAIRS_MANIFEST).read_text("utf-8")))
    except (OSError, ValueError) as error:
        rule = "holds no finished data set of pairs"
        remedy = "make it first: make pairs RECIPE=..."
        raise SetupError(Fault(key="output_dir", value=str(folder), rule=rule, remedy=remedy)) from error


def changed_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Names of the files of rows that are not what was written."""
    paths = {split: file_of(folder, split) for split in manifest["files"]}
    return [
        path.relative_to(folder).as_posix()
        for split, path in paths.items()
        if not path.is_file() or _file(path) != manifest["files"][split]
    ]


def _file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": digest_of_file(path)}
