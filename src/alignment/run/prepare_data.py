"""`make data`: everything a recipe reads, on this machine, checked and tokenized, so that training needs no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data import load_dataset_splits, prepare_splits
from alignment.data.files import find_local
from alignment.data.report import token_report
from alignment.data.statistics import QUANTILES
from alignment.evaluation.needs import fetch_needed
from alignment.files import cache_root, write_json
from alignment.hub.downloads import Fetched, dataset_commit, fetch_model
from alignment.methods import METHODS
from alignment.modeling.load import load_tokenizer, tokenizer_revision
from alignment.redaction import portable
from alignment.report.machine import version_facts
from alignment.report.manifest import data_facts
from alignment.run.inspect_data import report_of, token_rules

if TYPE_CHECKING:
    from alignment.data.load import Splits
    from alignment.data.splits import TokenSplits
    from alignment.data.token_rules import Rules
    from alignment.recipe import Recipe

DATA_MANIFEST = "data_manifest.json"


def prepare(recipe: Recipe) -> dict[str, Any]:
    """Fetch model and data, check, tokenize; returns what `data_manifest.json` in the output folder then holds.

    Training with the same recipe finds all of it in the caches, with `HF_HUB_OFFLINE=1` too.

    Raises:
        SetupError: the model or data set cannot be had.
        DataError: rows that cannot be trained on.
    """
    for name, revision in _remote_sources(recipe):
        dataset_commit(name, revision=revision)  # asked first: it costs nothing, and the model may be large
    model = recipe.model
    fetched = [fetch_model(model.model_name_or_path, revision=model.model_revision)]
    if model.tokenizer_name_or_path is not None:
        tokenizer_name = model.tokenizer_name_or_path
        fetched.append(
            fetch_model(tokenizer_name, revision=tokenizer_revision(model), weights=False, key="tokenizer_name_or_path")
        )

    for told in fetch_needed(recipe):
        print(told)

    tokenizer = load_tokenizer(model, chat_template=recipe.data.chat_template)
    method = METHODS[recipe.method]
    checked = load_dataset_splits(recipe.data, kind=method.data, cache=cache_root())
    rules = token_rules(recipe)
    splits = prepare_splits(
        checked,
        tokenizer,
        rules,
        on_bad_row=recipe.data.on_bad_row,
        num_proc=recipe.data.dataset_num_proc,
        cache=cache_root(),
    )
    print(*splits.told, sep="\n")
    data = data_facts(splits)
    manifest = {
        "recipe": recipe.name,
        "models": [{**dataclasses.asdict(found), "folder": None} for found in fetched],
        "tokens": data.pop("tokens"),
        "data": data,
        "report": {"data": report_of(recipe, checked), "tokens": _token_reports(splits, checked, rules)},
        "disk": _disk(fetched, [checked.train, *([] if checked.test is None else [checked.test])]),
        "versions": version_facts(),
    }
    manifest = portable(manifest, root=Path.cwd())
    folder = Path(recipe.training["output_dir"])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / DATA_MANIFEST, manifest)
    return manifest


def _token_reports(splits: TokenSplits, checked: Splits, rules: Rules) -> dict[str, Any]:
    parts = checked.parts
    return {name: token_report(rows, rules, of=len(parts[name])) for name, rows in splits.prepared.items()}


def _remote_sources(recipe: Recipe) -> list[tuple[str, str | None]]:
    """Id and revision of every data set that no local file or folder has the name of."""
    data = recipe.data
    if data.dataset_mixture is not None:
        named = [(source.id, source.revision) for source in data.dataset_mixture.datasets]
    else:
        named = [(str(data.dataset_name), data.dataset_revision)]
    if data.decontaminate is not None:
        named += [(source.id, source.revision) for source in data.decontaminate.sources]
    return [(name, revision) for name, revision in named if find_local(name) is None]


def _disk(fetched: Sequence[Fetched], parts: Any) -> dict[str, int]:
    """Bytes on this disk: models, rows, and the cache of tokenized pairs."""
    rows = {file["filename"] for part in parts for file in part.cache_files}
    tokens = cache_root() / "pairs"
    return {
        "models": sum(found.bytes for found in fetched),
        "rows": sum(Path(name).stat().st_size for name in rows),
        "tokenized_pairs": sum(path.stat().st_size for path in tokens.rglob("*") if path.is_file()),
    }


def print_report(manifest: Mapping[str, Any], *, recipe: str) -> None:
    """The manifest as tables; `recipe` is what a command finds it by."""
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    console = Console()
    models = Table(title="Model", title_justify="left")
    for column in ("id", "from", "revision", "files", "size"):
        models.add_column(column, justify="right" if column in ("files", "size") else "left", overflow="fold")
    for found in manifest["models"]:
        models.add_row(
            found["id"], found["source"], (found["revision"] or "-")[:12], str(found["files"]), decimal(found["bytes"])
        )
    data = Table(title="Data", title_justify="left")
    for column in ("data set", "split", "revision", "rows", "weight", "dropped"):
        data.add_column(column, justify="right" if column in ("rows", "weight", "dropped") else "left", overflow="fold")
    for source in manifest["data"]["sources"]:
        data.add_row(
            source["id"],
            source["split"],
            (source["revision"] or "local")[:12],
            f"{source['rows']:,}",
            f"{source['weight']:g}",
            f"{sum(source['dropped'].values()):,}",
        )
    tokens = Table(title="Tokens", title_justify="left")
    tokens.add_column("split")
    tokens.add_column("part")
    names = ("mean", *(f"p{round(100 * q)}" for q in QUANTILES), "max")
    for name in names:
        tokens.add_column(name, justify="right")
    tokens.add_column("cut", justify="right")
    for split, counted in manifest["tokens"].items():
        for part, numbers in counted["lengths"].items():
            cut = counted["cut"].get(part)
            row = [f"{numbers[name]:,.0f}" for name in names]
            tokens.add_row(split, part, *row, "" if cut is None else f"{cut:,}")
    for table in (models, data, tokens):
        console.print(table)
    disk = ", ".join(f"{name.replace('_', ' ')} {decimal(size)}" for name, size in manifest["disk"].items())
    console.print(f"On this disk: {disk}. Training now needs no network: HF_HUB_OFFLINE=1 make train RECIPE={recipe}")
