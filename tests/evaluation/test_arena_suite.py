"""Arena-Hard of a tiny model, with a benchmark in small that has the files of the real one, judged over HTTP."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from judging import JudgeServer, Reply, says
from tiny import save_gemma2, write_jsonl

from alignment.errors import DataError, SetupError
from alignment.evaluation import arena_hard
from alignment.evaluation.arena_files import fetch_repository, read_files
from alignment.evaluation.evaluate import evaluate
from alignment.recipe import Recipe, load_recipe
from alignment.recipe.benchmark_settings import ArenaHardSuite

CODE = """
import os
RUBRIC = "Judge {well}."
JUDGE_SETTINGS = {
    "hard_prompt": {"baseline": "o3", "system_prompt": RUBRIC},
    "creative_writing": {"baseline": "gemini", "system_prompt": "Judge art."},
    "arena-hard-v0.1": {"baseline": "gpt-4", "system_prompt": RUBRIC},
}
raise SystemExit("this file is read, not run")
"""
UIDS = ["one", "two", "three"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "arena-hard-auto"
    (root / "config").mkdir(parents=True)
    (root / "utils").mkdir()
    (root / "utils/judge_utils.py").write_text(CODE)
    config = {
        "judge_model": "gpt-4-1106-preview",
        "temperature": 0.0,
        "max_tokens": 4096,
        "regex_patterns": [r"\[\[([AB<>=]+)\]\]", r"\[([AB<>=]+)\]"],
        "prompt_template": "<Q>{QUESTION}</Q><A>{ANSWER_A}</A><B>{ANSWER_B}</B>",
    }
    for name, baselines in (("arena-hard-v0.1", ["gpt-4"]), ("arena-hard-v2.0", ["o3", "gemini"])):
        (root / f"config/{name}.yaml").write_text(yaml.safe_dump(config))
        kinds = ["hard_prompt", "hard_prompt", "creative_writing"] if "v2" in name else [name] * 3
        questions = [
            {"uid": uid, "category": kind, "prompt": f"Say {uid}?"} for uid, kind in zip(UIDS, kinds, strict=True)
        ]
        write_jsonl(root / f"data/{name}/question.jsonl", questions)
        for baseline in baselines:
            rows = [
                {"uid": uid, "messages": [{"content": "q"}, {"content": {"answer": f"BASELINE {{ANSWER_B}} {uid}"}}]}
                for uid in UIDS
            ]
            write_jsonl(root / f"data/{name}/model_answer/{baseline}.jsonl", rows)
    return root


@pytest.fixture
def run(tmp_path: Path, repository: Path, monkeypatch) -> Recipe:
    for variable in ("JUDGE_BASE_URL", "JUDGE_MODEL", "JUDGE_PRICE_PER_MTOK"):
        monkeypatch.delenv(variable, raising=False)
    save_gemma2(tmp_path / "tiny-model")
    settings = {
        "method": "simpo",
        "model_name_or_path": str(tmp_path / "tiny-model"),
        "dataset_name": "princeton-nlp/gemma2-ultrafeedback-armorm",
        "output_dir": str(tmp_path / "out"),
        "evaluation": {
            "arena_hard": {"repository": str(repository)},
            "generation": {"engine": "transformers", "temperature": 0, "max_new_tokens": 4},
        },
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return load_recipe(tmp_path / "recipe.yaml")


def evaluated(recipe: Recipe) -> tuple[dict, Path]:
    evaluate(recipe, ["arena_hard"], compare=["base"])
    folder = Path(recipe.training["output_dir"]) / "evaluation"
    (outcome,) = json.loads((folder / "results.json").read_text())["outcomes"]
    return outcome, folder / "base/arena_hard/judgments.jsonl"


def test_both_games_are_judged_once_and_scored_as_the_benchmark_does(run: Recipe, monkeypatch):
    # the model wins question two strongly in both games, loses one slightly, and three is nonsense once
    def reply(body: dict, before: int) -> Reply:
        shown = body["messages"][1]["content"]
        ours_is_b = "<A>BASELINE" in shown
        if "Say two?" in shown:
            return says("[[A>>B]]? No: [[B>>A]]" if ours_is_b else "My verdict: [A>>B]")
        if "Say three?" in shown and ours_is_b:
            return says("Both have charm. [[A??B]]")
        return says("[[A>B]]" if ours_is_b else "[[B>A]]")

    with JudgeServer(reply) as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.address)
        outcome, path = evaluated(run)
        asked = len(server.requests)
        evaluated(run)
    assert asked == len(server.requests) == 2 * len(UIDS) + 2  # the nonsense is asked for three times
    first = server.requests[0]
    assert first["model"] == "gpt-4-1106-preview" and first["max_tokens"] == 4096
    assert first["messages"][0] == {"role": "system", "content": "Judge {well}."}
    # 3 + 3 of 3 + 3 for two, 0 of 1 + 1 for one; three is left out whole
    score = next(metric for metric in outcome["metrics"] if metric["name"] == "score")
    assert score["value"] == pytest.approx(75) and score["n"] == 2
    assert "3 answers of the judge held no verdict; 1 of 3 questions do not count." in outcome["notes"]
    assert arena_hard.score(path, baseline="gpt-4")["score"] == pytest.approx(75)


def test_braces_in_answers_are_no_fields(repository: Path):
    files = read_files(ArenaHardSuite(repository=str(repository)))
    told = files.messages("one", files.baseline_answers["one"], "ours {QUESTION}")[1]["content"]
    assert told == "<Q>Say one?</Q><A>BASELINE {ANSWER_B} one</A><B>ours {QUESTION}</B>"


def test_categories_of_v2_have_their_own_baselines(repository: Path):
    hard = read_files(ArenaHardSuite(repository=str(repository), version="v2"))
    art = read_files(ArenaHardSuite(repository=str(repository), version="v2", category="creative_writing"))
    assert (hard.baseline, list(hard.questions)) == ("o3", ["one", "two"])
    assert (art.baseline, list(art.questions), art.system_prompt) == ("gemini", ["three"], "Judge art.")


def test_a_repository_that_lacks_something_is_told(repository: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ALIGNMENT_CACHE", str(tmp_path / "empty"))
    with pytest.raises(SetupError, match=r"git clone https://github\.com/lmarena/arena-hard-auto"):
        read_files(ArenaHardSuite())
    answers = repository / "data/arena-hard-v0.1/model_answer/gpt-4.jsonl"
    answers.write_text(answers.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match="no answer to 2 questions, such as two"):
        read_files(ArenaHardSuite(repository=str(repository)))
    (repository / "utils/judge_utils.py").write_text("JUDGE_SETTINGS = 3\n")
    with pytest.raises(SetupError, match="must hold JUDGE_SETTINGS"):
        read_files(ArenaHardSuite(repository=str(repository)))


def test_the_repository_is_fetched_once(repository: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ALIGNMENT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SetupError, match="cannot be fetched"):
        fetch_repository(str(tmp_path / "nowhere"))
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], check=True)
    fetched = fetch_repository(f"file://{repository}")
    assert read_files(ArenaHardSuite()).baseline == "gpt-4"
    assert fetch_repository(str(tmp_path / "nowhere")) == fetched
