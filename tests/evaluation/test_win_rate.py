"""The win rate of a tiny model against its base: by a rule, a scorer, and a judge over HTTP that is paid once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from judging import JudgeServer, Reply, says
from tiny import save_gemma2, write_jsonl

from alignment.errors import SetupError
from alignment.evaluation.evaluate import evaluate
from alignment.recipe import Recipe, load_recipe

PROMPTS = ["Why cats?", "Why dogs?", "What is a stone?"]
SEEDS = [1, 2]
PAIRS = len(PROMPTS) * len(SEEDS)
KEY = "sk-of-a-test-0123456789abcdef"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("win_rate")
    save_gemma2(root / "base", seed=1)
    save_gemma2(root / "trained", seed=2)
    write_jsonl(root / "prompts.jsonl", [{"prompt": prompt} for prompt in PROMPTS])
    return root


@pytest.fixture
def run(place: Path, tmp_path: Path, monkeypatch) -> Recipe:
    for variable in ("JUDGE_BASE_URL", "JUDGE_MODEL", "JUDGE_PRICE_PER_MTOK", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    output = tmp_path / "out"
    output.mkdir()
    for file in (place / "trained").iterdir():
        (output / file.name).symlink_to(file)
    return write(place, tmp_path, output)


def write(place: Path, folder: Path, output: Path, **judge: object) -> Recipe:
    generation = {"engine": "transformers", "temperature": 1.0, "max_new_tokens": 5, "seeds": SEEDS}
    settings = {
        "method": "simpo",
        "model_name_or_path": str(place / "base"),
        "dataset_name": "princeton-nlp/gemma2-ultrafeedback-armorm",
        "output_dir": str(output),
        "evaluation": {
            "win_rate": {"prompts": str(place / "prompts.jsonl"), "by": "house_style", "generation": generation},
            "judge": {"concurrency": 1, **judge},
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings))
    return load_recipe(path)


def by(recipe: Recipe, who: str) -> Recipe:
    return load_recipe(recipe.path, ["--evaluation.win_rate.by", who])


def outcome(recipe: Recipe) -> dict:
    content = json.loads((Path(recipe.training["output_dir"]) / "evaluation/results.json").read_text())
    (found,) = content["outcomes"]
    return found


def value(recipe: Recipe, name: str) -> float:
    return {metric["name"]: metric["value"] for metric in outcome(recipe)["metrics"]}[name]


def answers_of(recipe: Recipe, model: str) -> dict[str, str]:
    path = Path(recipe.training["output_dir"]) / f"evaluation/{model}/win_rate/outputs/items.jsonl"
    return {record["id"]: record["text"] for record in map(json.loads, path.read_text().splitlines())}


def test_a_scorer_decides_by_its_scores(run: Recipe, tmp_path: Path, monkeypatch):
    (tmp_path / "taste.py").write_text("def short(conversation):\n    return -len(conversation[-1]['content'])\n")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = by(run, "taste:short")
    evaluate(recipe, ["win_rate"])
    base, trained = answers_of(recipe, "base"), answers_of(recipe, "trained")
    assert len(base) == PAIRS and base != trained
    wins = [(len(trained[id]) < len(base[id])) + 0.5 * (len(trained[id]) == len(base[id])) for id in base]
    assert value(recipe, "win rate") == pytest.approx(100 * sum(wins) / PAIRS)
    assert outcome(recipe)["data"] == "3 prompts, against base, by taste:short"


def test_a_rule_needs_nobody(run: Recipe):
    evaluate(run, ["win_rate"])
    assert 0 <= value(run, "win rate") <= 100 and value(run, "unfinished answers") == 1


def test_a_judge_that_only_sees_positions_says_nothing(run: Recipe, monkeypatch, capsys):
    with JudgeServer(lambda body, before: says("Verdict: 1")) as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.address)
        monkeypatch.setenv("JUDGE_MODEL", "a-judge")
        monkeypatch.setenv("JUDGE_PRICE_PER_MTOK", "10,30")
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        evaluate(by(run, "judge"), ["win_rate"])
        assert len(server.requests) == 2 * PAIRS and set(server.keys) == {f"Bearer {KEY}"}
    assert value(run, "win rate") == 50 and value(run, "ties") == 100
    said = capsys.readouterr().out
    assert f"About to ask a-judge {2 * PAIRS} questions" in said and "at 10 and 30 a million" in said
    kept = (Path(run.training["output_dir"]) / "evaluation").rglob("*.json*")
    assert not any(KEY in file.read_text() for file in kept)


def test_nonsense_is_asked_again_so_often_counted_and_never_guessed(run: Recipe, monkeypatch):
    first = "Why cats?"

    def reply(body: dict, before: int) -> Reply:
        asked = body["messages"][1]["content"]
        return says("Both are fine." if first in asked else "Verdict: tie")

    with JudgeServer(reply) as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.address)
        monkeypatch.setenv("JUDGE_MODEL", "a-judge")
        evaluate(by(run, "judge"), ["win_rate"])
        nonsense = 2 * len(SEEDS)
        assert len(server.requests) == 2 * PAIRS - nonsense + 3 * nonsense
        evaluate(by(run, "judge"), ["win_rate"])
        assert len(server.requests) == 2 * PAIRS + 2 * nonsense
    found = outcome(run)
    assert f"{3 * nonsense} answers of the judge held no verdict; {nonsense} questions are unjudged." in found["notes"]
    assert value(run, "win rate") == 50
    assert next(metric["n"] for metric in found["metrics"] if metric["name"] == "win rate") == len(PROMPTS) - 1


def test_what_is_missing_is_told_before_anything_is_asked(run: Recipe, monkeypatch):
    with pytest.raises(SetupError, match="JUDGE_BASE_URL must be set"):
        evaluate(by(run, "judge"), ["win_rate"])
    monkeypatch.setenv("JUDGE_BASE_URL", "https://api.openai.com/v1")
    monkeypatch.setenv("JUDGE_MODEL", "gpt")
    with pytest.raises(SetupError, match="OPENAI_API_KEY is not set"):
        evaluate(by(run, "judge"), ["win_rate"])
    monkeypatch.setenv("JUDGE_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(SetupError, match=r"JUDGE_BASE_URL http://127\.0\.0\.1:9/v1 cannot be reached"):
        evaluate(by(run, "judge"), ["win_rate"])
    monkeypatch.setenv("JUDGE_PRICE_PER_MTOK", "ten")
    with pytest.raises(SetupError, match="JUDGE_PRICE_PER_MTOK"):
        evaluate(by(run, "judge"), ["win_rate"])


def test_verdicts_of_another_judge_are_kept_apart(run: Recipe, monkeypatch):
    with JudgeServer(lambda body, before: says("Verdict: 1")) as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.address)
        monkeypatch.setenv("JUDGE_MODEL", "one")
        evaluate(by(run, "judge"), ["win_rate"])
        monkeypatch.setenv("JUDGE_MODEL", "other")
        with pytest.raises(SetupError, match=r"judge\.model other was 'one'"):
            evaluate(by(run, "judge"), ["win_rate"])
        assert len(server.requests) == 2 * PAIRS


@pytest.mark.slow
def test_killed_half_way_and_run_again_no_answer_is_paid_twice(run: Recipe):
    held, answered = threading.Event(), []
    resumed = threading.Event()

    def reply(body: dict, before: int) -> Reply:
        if len(answered) == PAIRS and not resumed.is_set():
            held.set()
            resumed.wait(60)
            return Reply(status=None)
        answered.append(body["messages"][1]["content"])
        return says("Verdict: 2")

    with JudgeServer(reply) as server:
        environment = {**os.environ, "JUDGE_BASE_URL": server.address, "JUDGE_MODEL": "a-judge"}
        words = ["evaluate", str(run.path), "--suite", "win_rate", "--evaluation.win_rate.by", "judge"]
        command = [sys.executable, "-m", "alignment.cli", *words]
        first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert held.wait(120), first.communicate()[0]
        first.send_signal(signal.SIGKILL)
        first.wait()
        resumed.set()
        again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert len(answered) == len(set(answered)) == 2 * PAIRS
    assert f"Judging by a-judge: {PAIRS} questions" in again.stdout
    assert value(run, "win rate") == 50
