"""A data set of preference pairs to the Hub: verified before, sent in one commit, compared after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alignment.errors import Fault, SetupError
from alignment.hub.account import Destination
from alignment.output.folder import CARD
from alignment.pairs.dataset import file_of
from alignment.publish.plan import Plan, PlannedFile, keeps_card, left_out
from alignment.publish.secrets import TEXT_SUFFIXES, secret_faults
from alignment.publish.send import Receipt, send
from alignment.recipe.pairs_recipe import PairsRecipe
from alignment.report.pairs_card import build_pairs_card
from alignment.report.pairs_manifest import PAIRS_MANIFEST, changed_files, read_pairs_manifest
from alignment.report.pairs_picture import PICTURE

if TYPE_CHECKING:
    pass


def destination_of_pairs(recipe: PairsRecipe, *, repository: str | None = None) -> Destination:
    """Where a recipe's pairs go: its `hub_dataset_id`, or the name of its folder in one's own account."""
    settings = recipe.settings
    return Destination(
        repository=repository or settings.hub_dataset_id or recipe.folder.name,
        private=settings.hub_private_repo,
        revision=settings.hub_revision,
        kind="dataset",
    )


def publish_pairs(folder: Path, destination: Destination) -> Receipt:
    """Publish the data set in `folder`.

    Raises:
        SetupError: no finished data set, not fit to be published, no right to write there, or the Hub cannot take it.
    """
    manifest = read_pairs_manifest(folder)
    rows = sum(manifest["rows"].values())
    return send(
        destination,
        lambda repository: plan_pairs(folder, repository=repository),
        lambda plan: verify_pairs(folder, plan),
        title=f"{manifest['name']}: {rows} preference pairs of {manifest['model']['base_model']}",
    )


def plan_pairs(folder: Path, *, repository: str) -> Plan:
    """What publishing the data set in `folder` as `repository` would send; nothing is written or sent.

    Raises:
        SetupError: the folder holds no finished data set.
    """
    card = str(build_pairs_card(folder, repository=repository)).encode()
    card_kept = keeps_card(folder)
    rows = [file_of(folder, split) for split in read_pairs_manifest(folder)["rows"]]
    beside = [path for path in (folder / PICTURE, folder / PAIRS_MANIFEST) if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path for path in (*rows, *beside)}
    planned = [PlannedFile(name, path) for name, path in files.items()]
    planned.append(PlannedFile(CARD, folder / CARD if card_kept else card))
    return Plan(
        files=tuple(sorted(planned, key=lambda file: file.name)),
        left_out=tuple(left_out(folder, {file.name for file in planned})),
        card_kept=card_kept,
        stale=("data/*", "*.parquet"),
    )


def verify_pairs(folder: Path, plan: Plan) -> None:
    """Check what `plan` would publish: every file is what was written, and no text holds credentials or local paths.

    Raises:
        SetupError: with every fault.
    """
    faults = list(_changed(folder))
    texts = [file for file in plan.files if Path(file.name).suffix in TEXT_SUFFIXES]
    faults += secret_faults(((file.name, file.content()) for file in texts), folder=folder)
    if faults:
        raise SetupError(faults, where=f"{folder} is not fit to be published, and nothing was sent")


def _changed(folder: Path) -> Iterator[Fault]:
    for name in changed_files(folder, read_pairs_manifest(folder)):
        remedy = "run make pairs again, which writes it anew"
        yield Fault(key=name, rule="is missing, or is not what was written", remedy=remedy)
