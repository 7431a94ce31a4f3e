"""`make push-data` and `PUSH=1 make pairs` against a Hub over real HTTP."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from paired import ROOT, Place, pairs_recipe
from tiny import save_gemma2

from alignment.run.make_pairs import make_pairs

SENT = {
    "README.md",
    "data/test-00000-of-00001.parquet",
    "data/train-00000-of-00001.parquet",
    "pairs.png",
    "pairs_manifest.json",
}
TO = ("--hub_dataset_id", "me/x")


@pytest.fixture(scope="session")
def _made(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("paired")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        place = pairs_recipe(folder, save_gemma2(tmp_path_factory.mktemp("model")))
        make_pairs(place.recipe("--license", "mit"))
    return place


@pytest.fixture
def place(_made: Place, tmp_path: Path) -> Place:
    """Finished pairs that a test may spoil."""
    return Place(Path(shutil.copytree(_made.folder, tmp_path / "copy")))


def push(commands, place: Place, *words: str, **options):
    script = ROOT / "scripts/push_data.py"
    return commands.run(
        script, "--config", place.file, "--output_dir", place.output, *words, cwd=place.folder, **options
    )


def published(hub, revision: str = "main") -> dict[str, bytes]:
    files = hub.store.repos["dataset", "me/x"].at(revision).files
    return {path: blob.content for path, blob in files.items() if path != ".gitattributes"}


def test_pairs_become_one_commit_and_a_second_push_sends_nothing(commands, hub, place):
    first = push(commands, place, *TO)
    assert first.code == 0, first.err
    assert "Published: me/x" in first.out and "/datasets/me/x/commit/" in first.out
    files = published(hub)
    assert set(files) == SENT
    for name in SENT - {"README.md"}:
        assert files[name] == (place.output / name).read_bytes()
    assert b'load_dataset("me/x")' in files["README.md"]
    assert len(hub.store.repos["dataset", "me/x"].commits) == 2
    again = push(commands, place, *TO)
    assert again.code == 0 and "Already published" in again.out
    assert len(hub.store.repos["dataset", "me/x"].commits) == 2


def test_files_of_an_earlier_publication_do_not_stay_beside_the_new_ones(commands, hub, place):
    hub.store.create("me/x", kind="dataset")
    hub.store.put("me/x", {"data/train-00000-of-00002.parquet": b"old", "notes.txt": b"mine"}, kind="dataset")
    assert push(commands, place, *TO).code == 0
    assert set(published(hub)) == {*SENT, "notes.txt"}


def test_a_branch_is_made_a_private_one_stays_private_and_a_dry_run_sends_nothing(commands, hub, place):
    dry = push(commands, place, *TO, "--dry_run")
    assert dry.code == 0 and "pairs_manifest.json" in dry.out and not hub.log
    assert push(commands, place, *TO, "--private", "--revision", "second").code == 0
    assert hub.store.repos["dataset", "me/x"].private
    assert set(published(hub, "second")) == SENT and "README.md" not in published(hub)


def test_a_changed_file_or_a_credential_is_not_published(commands, hub, place):
    rows = place.output / "data/train-00000-of-00001.parquet"
    rows.write_bytes(rows.read_bytes() + b"more")
    card = place.output / "README.md"
    card.write_text(card.read_text() + "hf_" + "a1" * 15)
    refused = push(commands, place, *TO)
    assert refused.code == 2 and "a Hugging Face token" in refused.err and "is not what was written" in refused.err
    assert not hub.count("POST", "/commit/")


def test_what_was_never_made_is_not_published(commands, hub, place):
    shutil.rmtree(place.output)
    refused = push(commands, place, *TO)
    assert refused.code == 2 and "holds no finished data set of pairs" in refused.err


def test_who_may_not_push_is_told_before_anything_is_made_and_who_may_publishes_at_the_end(commands, hub, place):
    shutil.rmtree(place.output)
    words = ("--config", place.file, "--output_dir", place.output, "--push_to_hub", "true")
    script = ROOT / "scripts/pairs.py"
    refused = commands.run(script, *words, "--hub_dataset_id", "them/x", cwd=place.folder)
    assert refused.code == 2 and "hub_dataset_id them/x" in refused.err
    assert not place.output.exists()
    made = commands.run(script, *words, "--hub_dataset_id", "me/x", cwd=place.folder)
    assert made.code == 0, made.err
    assert set(published(hub)) == SENT
