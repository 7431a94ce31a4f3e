"""Where a base model comes from, told without the machine it lay on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignment.hub.bundled import bundled_model, is_bundled
from alignment.report.credits import MODELS, credit


def model_origin(name: str, *, revision: str | None = None) -> dict[str, Any]:
    """`{"base_model", "source", "revision", "license"}` of a `model_name_or_path`.

    `source` is `hub`, `local` or `bundled`; `base_model` is a Hub id unless the model is local; `revision` is the
    commit that lies in the cache. The license is the one that the base model's own card states where that is at hand,
    else the one known for its id.
    """
    if is_bundled(name):
        model = bundled_model(name)
        return {"base_model": model.origin, "source": "bundled", "revision": None, "license": model.license}
    if Path(name).is_dir():
        stated = _stated_license(Path(name) / "README.md")
        return {"base_model": name, "source": "local", "revision": None, "license": stated}
    config, card = (_cached(name, file, revision) for file in ("config.json", "README.md"))
    return {
        "base_model": name,
        "source": "hub",
        "revision": config.parent.name if config else None,
        "license": (_stated_license(card) if card else None) or credit(name, MODELS).license,
    }


def _cached(repository: str, file: str, revision: str | None) -> Path | None:
    """Where a file of a Hub repository lies: `snapshots/<commit>/<file>`."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _stated_license(card: Path) -> str | None:
    if not card.is_file():
        return None
    from huggingface_hub import ModelCard

    license = ModelCard.load(card, ignore_metadata_errors=True).data.license
    return license if isinstance(license, str) else None
