"""What a library raises becomes one message: what was being done, the likely key, its words, where the traceback is."""

from __future__ import annotations

import os

import pytest
from torch.optim import SGD

from alignment.cli.exit import guarded
from alignment.errors import RecipeError
from alignment.recipe.blame import likely_key
from alignment.run.failure import Journal, LibraryError, RunFailed, forget_logs, told

SETTINGS = {
    "model_name_or_path": "/models/tiny",
    "learning_rate": 1e-3,
    "optim": "adamw_torch",
    "optim_args": "momentum=0.9",
    "lr_scheduler_type": "cosine",
    "lr_scheduler_kwargs": {"min_lr": 1e-5},
    "lora_target_modules": ("query_key_value", "dense"),
    "save_strategy": "steps",
    "load_best_model_at_end": False,
}


def raised(function, *arguments, **keywords) -> BaseException:
    with pytest.raises(BaseException) as caught:
        function(*arguments, **keywords)
    return caught.value


@pytest.mark.parametrize(
    ("message", "key"),
    [
        ("`learning_rate` must be a float", "learning_rate"),
        ("lr_scheduler_kwargs is at odds with lr_scheduler_type", "lr_scheduler_kwargs"),
        ("get_schedule() got an unexpected keyword argument 'min_lr'", "lr_scheduler_kwargs"),
        ("Target modules {'query_key_value'} not found", "lora_target_modules"),
        ("nothing named dense here", None),
        ("nothing named 'dense' here", "lora_target_modules"),
        ("no file in /models/tiny", "model_name_or_path"),
        ("took too many steps", None),
        ("relearning_rates", None),
    ],
)
def test_the_key_that_a_message_is_about(message, key):
    assert likely_key(ValueError(message), SETTINGS) == key


def test_the_key_behind_the_library_that_raised():
    error = raised(SGD, [], lr=0.1)
    assert likely_key(error, SETTINGS) == "optim_args"
    assert likely_key(error, {"optim": "sgd"}) == "optim"
    assert likely_key(error, {"beta": 2.0}, candidates=("load_best_model_at_end", "beta")) == "beta"


def test_a_cause_further_down_is_read():
    error = RuntimeError("failed")
    error.__cause__ = KeyError("query_key_value")
    assert likely_key(error, SETTINGS) == "lora_target_modules"


def test_before_the_first_step_it_is_set_up(tmp_path):
    with pytest.raises(LibraryError) as caught, told(Journal(tmp_path, SETTINGS)) as journal:
        journal.doing("making the trainer")
        raise TypeError("got an unexpected keyword argument\n  'min_lr'.")
    assert str(caught.value) == (
        "The run cannot start (while making the trainer):\n  - lr_scheduler_kwargs {'min_lr': 1e-05} is the likely "
        "cause of this: TypeError: got an unexpected keyword argument 'min_lr'; correct or remove it; the full "
        f"traceback is in {tmp_path}/error.log."
    )
    assert (tmp_path / "error.log").read_text().startswith("Traceback (most recent call last):")
    assert os.listdir(tmp_path) == ["error.log"]
    assert guarded(lambda: (_ for _ in ()).throw(caught.value)) == 2


def test_after_the_first_step_it_is_not(tmp_path, capsys):
    def main():
        with told(Journal(tmp_path, SETTINGS)) as journal:
            journal.doing("training")
            journal.stepped = lambda: True
            raise KeyError("lost")

    assert guarded(main) == 1
    message = f"The run failed while training: KeyError: 'lost'; the full traceback is in {tmp_path}/error.log."
    assert capsys.readouterr().err == f"\n{message}\n"
    (tmp_path / "checkpoint-3").mkdir()
    assert guarded(main) == 1
    assert capsys.readouterr().err.endswith("error.log. The same command goes on from the last checkpoint.\n")


def test_memory_is_no_matter_of_a_key(tmp_path):
    with pytest.raises(LibraryError) as caught, told(Journal(tmp_path, SETTINGS)) as journal:
        journal.doing("loading the model", "model_name_or_path")
        raise MemoryError
    assert "loading the model failed: MemoryError; it needs less memory with" in str(caught.value)


def test_what_is_told_already_passes(tmp_path):
    for error in (RecipeError([]), RunFailed("x"), KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)), told(Journal(tmp_path, {})):
            raise error
    assert os.listdir(tmp_path) == []


def test_every_rank_has_its_log_and_a_new_attempt_forgets_them(tmp_path, monkeypatch):
    for rank in ("0", "11"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(LibraryError), told(Journal(tmp_path, {})):
            raise ValueError(rank)
    assert sorted(os.listdir(tmp_path)) == ["error-rank11.log", "error.log"]
    forget_logs(tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_log_that_cannot_lie_in_the_folder_lies_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(LibraryError, match=f"is in {tmp_path}/error.log"), told(Journal(tmp_path / "file/out", {})):
        raise ValueError


def test_anything_else_that_ends_a_command_is_one_message_too(tmp_path, monkeypatch, capsys):
    class PanicException(BaseException):
        """What native extensions raise."""

    def main():
        raise PanicException("index out of bounds")

    monkeypatch.setenv("ALIGNMENT_CACHE", str(tmp_path))
    assert guarded(main) == 1
    assert capsys.readouterr().err == (
        f"\nThe command failed: PanicException: index out of bounds; the full traceback is in {tmp_path}/error.log.\n"
    )
