"""A folder belongs to one recipe and to one process at a time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from alignment.errors import SetupError
from alignment.run_folder import CARD, MANIFEST, claim, last_checkpoint

RECIPE = {"method": "simpo", "learning_rate": 1e-6, "logging_steps": 5}


def checkpoint(folder, step: int, *, complete: bool = True):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if complete:
        (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
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
    assert last_checkpoint(tmp_path) == newest


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
        "import sys; from pathlib import Path; from alignment.run_folder import claim\n"
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
