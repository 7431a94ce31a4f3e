"""`check` on a recipe whose data is here: a view for people, one JSON object for programs, and no download."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tiny
import yaml

from alignment.cli.app import main

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    tiny.save_gemma2(folder / "model")
    rows = tiny.preference_rows(12)
    answer = {"role": "assistant", "content": " ".join(["stone"] * 200)}
    rows[3]["chosen"] = [rows[3]["chosen"][0], answer]
    tiny.write_jsonl(folder / "pairs.jsonl", rows)
    return folder


class Done(NamedTuple):
    """What the command left."""

    code: object
    out: str
    err: str


@pytest.fixture
def check(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*words: str, **keys: Any) -> Done:
        with pytest.raises(SystemExit) as end:
            main("check", [str(write(home, **keys)), *words])
        told = capsys.readouterr()
        return Done(end.value.code, told.out, told.err)

    monkeypatch.chdir(home)
    for name, value in environment(home).items():
        monkeypatch.setenv(name, value)
    return run


def write(home: Path, **keys: Any) -> Path:
    stated = {"method": "simpo", "model_name_or_path": "model", "dataset_name": "pairs.jsonl", **keys}
    path = home / "recipe.yaml"
    path.write_text(yaml.safe_dump({"max_length": 128, "max_prompt_length": 64, **stated}))
    return path


def environment(home: Path) -> dict[str, str]:
    return {
        "ALIGNMENT_CACHE": str(home / "cache"),
        "HF_ENDPOINT": "http://127.0.0.1:9",  # every request to it fails
        "HF_HOME": str(home / "hf"),
        "COLUMNS": "200",
    }


def test_one_json_object(home: Path) -> None:
    command = [sys.executable, "-m", "alignment.cli", "check", str(write(home)), "--json"]
    process = {**os.environ, **environment(home), "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, capture_output=True, text=True, env=process, cwd=home, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["valid"] and found["recipe"]["settings"]["max_length"] == 128
    assert found["data"]["splits"]["train"]["rows"] == 12
    assert found["tokens"]["train"]["cut"]["chosen"] == 1
    assert found["pair"]["row"].startswith("row 3 of train of pairs.jsonl")
    prompt, chosen, rejected = found["pair"]["parts"]
    assert [part["name"] for part in (prompt, chosen, rejected)] == ["prompt", "chosen", "rejected"]
    assert chosen["tokens"] == 64 and chosen["cut"] > 100 and rejected["cut"] == 0
    assert not any(piece["scored"] for piece in prompt["pieces"])
    assert all(piece["scored"] for piece in chosen["pieces"])
    for part in (prompt, chosen, rejected):
        assert sum(piece["tokens"] for piece in part["pieces"] if not piece["cut"]) == part["tokens"]
    assert prompt["pieces"][0] == {
        "text": "<bos><start_of_turn>",
        "tokens": 2,
        "scored": False,
        "cut": False,
        "special": True,
    }


def test_people_see_the_same_and_colors_where_there_are_any(check) -> None:
    plain = check()
    assert plain.code == 0, plain.err
    shown = " ".join(plain.out.split())
    for text in ("rows 12", "chosen truncated 1", "As the model sees it", "<start_of_turn>user", "⟦cut "):
        assert text in shown
    assert "\x1b[" not in plain.out


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_what_is_not_here_is_not_fetched(check, words: tuple[str, ...]) -> None:
    done = check(*words, dataset_name="nobody/pairs")
    assert done.code == 0, done.err
    told = json.loads(done.out)["data_missing"] if words else " ".join(done.out.split())
    assert "nobody/pairs is not on this machine, and nothing is downloaded here; `make data` fetches it" in told


def test_rows_that_are_found_are_told_with_what_training_does(check, home: Path) -> None:
    (home / "again.jsonl").write_text((home / "pairs.jsonl").read_text() * 2)
    keys = {"dataset_name": "again.jsonl", "deduplicate": {"action": "drop"}}
    done = check(**keys, decontaminate={"against": ["pairs.jsonl"], "action": "error"})
    assert done.code == 0
    assert "exact duplicate: 12 training rows (action: drop)" in done.out
    assert "overlap with an evaluation prompt: 24 training rows (action: error)" in done.out


def test_rows_that_training_would_refuse_are_counted(check, home: Path) -> None:
    rows = tiny.preference_rows(4)
    rows[1]["rejected"] = rows[1]["chosen"]
    tiny.write_jsonl(home / "bad.jsonl", rows)
    told = " ".join(check(dataset_name="bad.jsonl").out.split())
    assert "bad rows: 1 x chosen identical to rejected; training stops at them (on_bad_row: error)" in told


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_file_that_cannot_be_read_is_an_error(check, home: Path, words: tuple[str, ...]) -> None:
    (home / "broken.jsonl").write_text('{"prompt": "a"\n')
    done = check(*words, dataset_name="broken.jsonl")
    assert done.code == 2
    assert "broken.jsonl line 1" in done.err and "Traceback" not in done.err


def test_json_of_a_recipe_at_fault_is_no_object(check) -> None:
    done = check("--json", gama_beta_ratio=1)
    assert (done.code, done.out) == (2, "")
    assert "did you mean gamma_beta_ratio?" in done.err


def test_json_takes_one_recipe(check) -> None:
    done = check("quickstart", "--json")
    assert done.code == 2 and "--json takes one recipe" in done.err
