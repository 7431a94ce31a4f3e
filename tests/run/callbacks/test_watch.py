"""Alarms of real small runs: told once, recorded, resumed without repetition, and the end of a run that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import preference_rows, save_gemma2, write_jsonl

from alignment.generation.answers import Answer
from alignment.recipe import load_recipe
from alignment.run.callbacks.alarms.stop import StoppedByAlarm
from alignment.run.callbacks.rank_speed import slowest
from alignment.run.callbacks.sampling import prompt_of, sample_numbers
from alignment.run.train import run


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("parts")
    rows = preference_rows(88)
    write_jsonl(folder / "data/train.jsonl", rows[:80])
    write_jsonl(folder / "data/test.jsonl", rows[80:])
    return {"model_name_or_path": str(save_gemma2(folder / "model")), "dataset_name": str(folder / "data")}


def train(folder: Path, parts: dict[str, str], *overrides: str, **changes: Any) -> None:
    settings = {
        **{"method": "simpo", "output_dir": str(folder / "out"), "use_cpu": True, "global_batch_size": 4},
        **{"num_train_epochs": 1, "learning_rate": 1e-3, "logging_steps": 1, "max_length": 96, "max_prompt_length": 64},
        **{"save_strategy": "steps", "save_steps": 5, **parts, **changes},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in settings.items() if value is not None}))
    run(load_recipe(path, overrides))


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / "out" / name).read_text())


def test_a_healthy_run_raises_none_and_logs_every_step(tmp_path: Path, parts: dict[str, str]) -> None:
    train(tmp_path, parts, sample_every=10, report_to="tensorboard")
    assert read(tmp_path, "run_manifest.json")["alarms"] == []
    log = read(tmp_path, "trainer_state.json")["log_history"]
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, 21))
    assert [entry["step"] for entry in log if "samples/tokens" in entry] == [0, 10, 20]
    assert len([entry for entry in log if "weights/relative_change" in entry]) == 10


def test_sampling_changes_no_update(tmp_path: Path, parts: dict[str, str]) -> None:
    losses = []
    for name, changes in (("without", {}), ("with", {"sample_every": 3})):
        (tmp_path / name).mkdir()
        train(tmp_path / name, parts, max_steps=8, **changes)
        log = read(tmp_path / name, "trainer_state.json")["log_history"]
        losses.append([entry["loss"] for entry in log if "loss" in entry])
    assert losses[0] == losses[1]


def test_an_alarm_stops_a_run_that_then_goes_on_only_when_told_to(
    tmp_path: Path, parts: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    sick = {"learning_rate": 0.1, "alarms": {"default": "off", "chosen-falls": "stop"}}
    with pytest.raises(StoppedByAlarm):
        train(tmp_path, parts, **sick)
    told = capsys.readouterr().out
    manifest = read(tmp_path, "run_manifest.json")
    (alarm,) = manifest["alarms"]
    assert manifest["stopped_by"] == alarm["name"] == "chosen-falls"
    assert f"alarm: chosen-falls at step {alarm['step']}: since step" in told
    checkpoint = tmp_path / "out" / f"checkpoint-{alarm['step']}"
    assert (checkpoint / "trainer_state.json").exists() and not (tmp_path / "out" / "README.md").exists()

    with pytest.raises(StoppedByAlarm, match=f"chosen-falls stop ended the run at step {alarm['step']}: since step"):
        train(tmp_path, parts, **sick)
    assert "Continuing" not in capsys.readouterr().out

    train(tmp_path, parts, "--alarms.chosen_falls", "warn", **sick)
    told = capsys.readouterr().out
    assert f"Continuing from {checkpoint}" in told and "alarm:" not in told
    manifest = read(tmp_path, "run_manifest.json")
    assert manifest["alarms"] == [alarm] and "stopped_by" not in manifest
    assert "alarm `chosen-falls` at step" in (tmp_path / "out" / "README.md").read_text()
    log = read(tmp_path, "trainer_state.json")["log_history"]
    assert [entry["step"] for entry in log if "alarms/chosen-falls" in entry] == [alarm["step"]]


def test_alarms_that_are_off_do_not_look(tmp_path: Path, parts: dict[str, str]) -> None:
    train(tmp_path, parts, learning_rate=0.1, alarms="off")
    assert read(tmp_path, "run_manifest.json")["alarms"] == []


def test_a_run_whose_weights_stay_says_so(tmp_path: Path, parts: dict[str, str]) -> None:
    train(tmp_path, parts, learning_rate=1e-12, method="dpo", max_prompt_length=None)
    assert "no-movement" in [alarm["name"] for alarm in read(tmp_path, "run_manifest.json")["alarms"]]
    log = read(tmp_path, "trainer_state.json")["log_history"]
    assert all("rewards/margins" in entry for entry in log if "loss" in entry)
    assert not any("rewards/margins" in entry for entry in log if "weights/relative_change" in entry)


def test_what_is_logged_of_answers() -> None:
    answers = [
        Answer(text="The moon lifts the water of the sea twice a day.", finished=True, tokens=12),
        Answer(text="The moon, the moon, " * 10, finished=False, tokens=60),
        Answer(text="", finished=True, tokens=0),
        Answer(text="Yes.", finished=True, tokens=2),
    ]
    expected = {"samples/repetition": 0.25, "samples/empty": 0.25, "samples/unfinished": 0.25, "samples/tokens": 18.5}
    assert sample_numbers(["Why are there tides?"] * 4, answers) == expected


def test_what_is_asked_of_a_conversation_is_all_before_its_last_answer() -> None:
    turns = [{"role": role, "content": role} for role in ("user", "assistant", "user", "assistant")]
    assert prompt_of({"messages": turns}) == turns[:3]
    assert prompt_of({"prompt": turns[:1], "chosen": turns[1:2]}) == turns[:1]


def test_the_slowest_rank() -> None:
    assert slowest([1.0, 3.0, 2.0, 1.0]) == {"ranks/slowest_over_median": 3.0, "ranks/slowest": 1}
