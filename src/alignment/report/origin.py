"""Where a base model comes from, told without the machine it lay on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignment.modeling.embedded import embedded_model, is_embedded
from alignment.report.credits import MODELS, credit


def model_origin(name: str, *, revision: str | None = None) -> dict[str, Any]:
    """`{"base_model", "source", "license"}` of a `model_name_or_path`.

    `source` is `hub`, `local` or `embedded`; `base_model` is a Hub id unless the model is local. The licence
    is the one that the base model's own card states where that is at hand, else the one known for its id.
    """
    if is_embedded(name):
        model = embedded_model(name)
        return {"base_model": model.origin, "source": "embedded", "license": model.licence}
    if Path(name).is_dir():
        stated = _stated_licence(Path(name) / "README.md")
        return {"base_model": name, "source": "local", "license": stated}
    stated = _stated_licence(_cached_card(name, revision))
    return {"base_model": name, "source": "hub", "license": stated or credit(name, MODELS).licence}


def _cached_card(repository: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "README.md", revision=revision)
    return Path(found) if isinstance(found, str) else None


def _stated_licence(card: Path | None) -> str | None:
    if card is None or not card.is_file():
        return None
    from huggingface_hub import ModelCard

    licence = ModelCard.load(card, ignore_metadata_errors=True).data.license
    return licence if isinstance(licence, str) else None
