"""A folder belongs to one recipe and to one process at a time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from alignment.errors import SetupError
from alignment.output.checkpoints import last_whole, seal
from alignment.output.folder import CARD, IDENTITY, MANIFEST, claim

IDENTITY_NOW = {"recipe": {}, "rows": "r", "tokenizer": "t", "base_weights": "b"}
RECIPE = {"method": "simpo", "learning_rate": 1e-6, "logging_steps": 5}


def checkpoint(folder, step: int, *, complete: bool = True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if complete:
        (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        (path / "model.safetensors").write_bytes(b"weights")
        seal(path, IDENTITY_NOW)
    return path


def test_a_new_folder_is_made_and_remembers_its_recipe(tmp_path):
    with claim(tmp_path / "new" / "run", RECIPE) as folder:
        assert (folder.finished, folder.resume_from) == (False, None)
    assert json.loads((tmp_path / "new" / "run" / "recipe.json").read_text()) == RECIPE


def test_the_newest_complete_checkpoint_is_taken(tmp_path):
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, complete=False)
    half = checkpoint(tmp_path, 30, complete=False)
    (half / "trainer_state.json").write_text('{"global_st')
    assert last_whole(tmp_path) == newest


def _truncate(checkpoint):
    (checkpoint / "model.safetensors").write_bytes(b"wei")


def _lose(checkpoint):
    (checkpoint / "model.safetensors").unlink()


def _half_state(checkpoint):
    (checkpoint / "trainer_state.json").write_text('{"global_step": 1')


def _half_seal(checkpoint):
    (checkpoint / "sealed.json").write_text('{"step": 20, "fil')


def _list_for_seal(checkpoint):
    (checkpoint / "sealed.json").write_text("[]")


def _unsealed(checkpoint):
    (checkpoint / "sealed.json").unlink()


@pytest.mark.parametrize("damage", [_truncate, _lose, _half_state, _half_seal, _list_for_seal, _unsealed])
def test_a_damaged_checkpoint_is_named_and_set_aside(tmp_path, damage):
    with claim(tmp_path, RECIPE):
        earlier = checkpoint(tmp_path, 10)
        damage(checkpoint(tmp_path, 20))
    with claim(tmp_path, RECIPE) as folder:
        assert folder.resume_from == earlier
        assert len(folder.told) == 1 and "checkpoint-20" in folder.told[0] and "set aside" in folder.told[0]
    assert (tmp_path / "incomplete-checkpoint-20").is_dir() and not (tmp_path / "checkpoint-20").exists()


@pytest.mark.parametrize("key", ["rows", "tokenizer", "base_weights"])
def test_a_checkpoint_goes_on_with_what_it_was_trained_on_only(tmp_path, key):
    with claim(tmp_path, RECIPE):
        checkpoint(tmp_path, 3)
    with claim(tmp_path, RECIPE) as folder:
        folder.check_identity(IDENTITY_NOW)
        with pytest.raises(SetupError, match=r"not what checkpoint-3 in .* was trained on"):
            folder.check_identity({**IDENTITY_NOW, key: "other"})


def test_a_finished_run_is_of_its_own_rows(tmp_path):
    with claim(tmp_path, RECIPE):
        for report, content in ((MANIFEST, {}), (CARD, {}), (IDENTITY, IDENTITY_NOW)):
            (tmp_path / report).write_text(json.dumps(content))
    with claim(tmp_path, RECIPE) as folder:
        folder.check_identity(IDENTITY_NOW)
        with pytest.raises(SetupError, match="the data has changed"):
            folder.check_identity({**IDENTITY_NOW, "rows": "other"})


@pytest.mark.parametrize("content", ["", '{"method": "si', "[1]"])
def test_a_damaged_record_of_the_recipe_is_made_up_for_by_the_checkpoint(tmp_path, content):
    with claim(tmp_path, RECIPE):
        path = checkpoint(tmp_path, 3)
        seal(path, {**IDENTITY_NOW, "recipe": RECIPE})
        (tmp_path / "recipe.json").write_text(content)
    with claim(tmp_path, RECIPE) as folder:
        assert folder.resume_from == path
        (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(SetupError, match="learning_rate"), claim(tmp_path, {**RECIPE, "learning_rate": 0.5}):
        pass


def test_an_unfinished_run_goes_on_even_with_another_log_interval(tmp_path):
    with claim(tmp_path, RECIPE):
        newest = checkpoint(tmp_path, 3)
    with claim(tmp_path, {**RECIPE, "logging_steps": 1}) as folder:
        assert folder.resume_from == newest


def test_another_recipe_may_not_continue_the_run(tmp_path):
    with claim(tmp_path, RECIPE):
        checkpoint(tmp_path, 3)
    with (
        pytest.raises(SetupError, match=r"learning_rate 0.5 was 1e-06 in the unfinished run"),
        claim(tmp_path, {**RECIPE, "learning_rate": 0.5}),
    ):
        pass


def test_a_run_without_checkpoints_may_start_over_with_another_recipe(tmp_path):
    with claim(tmp_path, RECIPE):
        pass
    with claim(tmp_path, {**RECIPE, "learning_rate": 0.5}) as folder:
        assert folder.resume_from is None


def test_a_finished_run_is_kept_unless_told_otherwise(tmp_path):
    with claim(tmp_path, RECIPE):
        old = checkpoint(tmp_path, 3)
        for report in (MANIFEST, CARD, "before_after.json"):
            (tmp_path / report).write_text("{}")
    with claim(tmp_path, RECIPE) as folder:
        assert (folder.finished, folder.resume_from) == (True, None)
    with pytest.raises(SetupError, match="overwrite_output_dir"), claim(tmp_path, {**RECIPE, "learning_rate": 0.5}):
        pass
    with claim(tmp_path, {**RECIPE, "learning_rate": 0.5}, overwrite=True) as folder:
        assert (folder.finished, folder.resume_from) == (False, None)
    assert not old.exists()
    assert not (tmp_path / "before_after.json").exists(), "an old run must not speak for the new one"


def test_strangers_checkpoints_are_not_continued(tmp_path):
    checkpoint(tmp_path, 3)
    with pytest.raises(SetupError, match="did not start"), claim(tmp_path, RECIPE):
        pass


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be written"), claim(tmp_path / "file" / "run", RECIPE):
        pass


def test_two_processes_may_not_share_a_folder(tmp_path):
    code = (
        "import sys; from pathlib import Path; from alignment.output.folder import claim\n"
        "with claim(Path(sys.argv[1]), {}): print('never')"
    )
    with claim(tmp_path, {}):
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert other.returncode == 1
    assert "is being written by another process" in other.stderr
    assert "never" not in other.stdout


def test_a_manifest_without_a_card_is_not_a_finished_run(tmp_path):
    with claim(tmp_path, RECIPE):
        newest = checkpoint(tmp_path, 3)
        (tmp_path / MANIFEST).write_text("{}")
    with claim(tmp_path, RECIPE) as folder:
        assert (folder.finished, folder.resume_from) == (False, newest)
