"""The card of a data set of pairs, from its manifest alone: so it can be written anew when it is pushed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from alignment.report.formatting import shown
from alignment.report.pairs_manifest import PAIRS_MANIFEST, read_pairs_manifest
from alignment.report.pairs_picture import PICTURE
from alignment.report.seal import sealed

if TYPE_CHECKING:
    from huggingface_hub import DatasetCard, DatasetCardData

_TEMPLATE = Path(__file__).parent.parent / "templates" / "data_card.md"
_SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))
_RULES = {"best_worst": "the best against the worst", "best_random": "the best against a random worse one"}
_LIBRARIES = ("transformers", "vllm", "torch", "datasets")


def build_pairs_card(folder: Path, *, repository: str | None = None) -> DatasetCard:
    """The card of the data set in `folder`.

    Args:
        repository: id on the Hub, such as `me/gemma2-pairs`; the folder itself when left out.

    Raises:
        SetupError: the folder holds no finished data set of pairs.
    """
    from huggingface_hub import DatasetCard

    manifest = read_pairs_manifest(folder)
    title = (repository or folder.name).rpartition("/")[2]
    context = _context(manifest, repository=repository or folder.name, title=title)
    card = DatasetCard.from_template(_card_data(manifest, title), template_path=str(_TEMPLATE), **context)
    return sealed(card, PAIRS_MANIFEST)


def _card_data(manifest: Mapping[str, Any], title: str) -> DatasetCardData:
    from huggingface_hub import DatasetCardData

    rows = sum(manifest["rows"].values())
    return DatasetCardData(
        license=manifest["recipe"].get("license"),
        task_categories=["text-generation"],
        size_categories=[next((name for name, most in _SIZES if rows < most), "n>1M")],
        pretty_name=title,
        tags=["preference", "on-policy", "alignment-handbook"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in manifest["rows"]],
            }
        ],
    )


def _context(manifest: Mapping[str, Any], *, repository: str, title: str) -> dict[str, Any]:
    """The variables of the template."""
    statistics, recipe = manifest["statistics"], manifest["recipe"]
    before, after = statistics["before"], statistics["after"]
    as_text = manifest["prompts"]["all_text"]
    return {
        "title": title,
        "repository": repository,
        "name": manifest["name"],
        "model": manifest["model"]["base_model"],
        "scorer": recipe["scorer"]["name"],
        "rule": _RULES[recipe.get("selection", {}).get("rule", "best_worst")],
        "draws": len(statistics["draws"]),
        "prompts": shown(before["prompts"]),
        "prompt_form": "the question" if as_text else "the conversation up to the answer, as messages",
        "rows": [(split, shown(count)) for split, count in manifest["rows"].items()],
        "picture": PICTURE,
        "before": [*_prompt_rows(manifest["prompts"]), *_rows(before)],
        "draw_rows": [[shown(cell) for cell in _draw(draw)] for draw in statistics["draws"]],
        "after": list(_rows({key: value for key, value in after.items() if key != "prompts_without"})),
        "without": [(why, shown(count)) for why, count in after["prompts_without"].items()],
        "recipe_yaml": yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).rstrip(),
        "versions": ", ".join(
            f"{name} {version}" for name, version in manifest["versions"].items() if name in _LIBRARIES and version
        ),
    }


def _prompt_rows(prompts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "rows read", shown(prompts["rows"])
    for reason, count in prompts["left_out"].items():
        yield f"left out: {reason}", shown(count)
    if "overlaps" in prompts:
        told = f"overlap with evaluation prompts ({prompts['overlaps']['action']})"
        yield told, shown(prompts["overlaps"]["count"])


def _rows(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        yield name.replace("_", " "), shown(value)


def _draw(draw: Mapping[str, Any]) -> tuple[Any, ...]:
    name = f"seed {draw['seed']}" + (f", system message: {draw['system']}" if draw["system"] else "")
    return (name, *(draw[key] for key in ("mean_score", "mean_characters", "unfinished", "chosen", "rejected")))
