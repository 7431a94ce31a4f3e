"""AlpacaEval of a tiny model by the library's own prompts and parsing, judged over HTTP; and its length control."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from judging import JudgeServer, Reply, says
from tiny import save_gemma2, write_jsonl

from alignment.errors import SetupError
from alignment.evaluation import alpaca_eval
from alignment.evaluation.alpaca_library import Annotator
from alignment.evaluation.evaluate import evaluate
from alignment.recipe import Recipe, load_recipe

pytest.importorskip("alpaca_eval", exc_type=ImportError)

INSTRUCTIONS = [f"Tell of stone {number}." for number in range(6)]


def answer_in_tokens(token: str, **chances: float) -> Reply:
    """A judge's answer of one token, with the probabilities of some."""
    top = [{"token": name, "logprob": math.log(chance)} for name, chance in chances.items()]
    return says(token, logprobs={"content": [{"token": token, "top_logprobs": top}]}, finish_reason="length")


def prefers(wanted: str, chance: float):
    """A judge that gives the output holding `wanted` this probability, wherever it stands."""

    def reply(body: dict, before: int) -> Reply:
        shown = body["messages"][-1]["content"]
        first = shown[shown.index('"m"') : shown.index('"M"', shown.index('"m"') + 1)]
        small = chance if wanted in first else 1 - chance
        return answer_in_tokens("m" if small > 0.5 else "M", m=small, M=1 - small)

    return reply


@pytest.fixture
def run(tmp_path: Path, monkeypatch) -> Recipe:
    for variable in ("JUDGE_BASE_URL", "JUDGE_MODEL", "JUDGE_PRICE_PER_MTOK"):
        monkeypatch.delenv(variable, raising=False)
    save_gemma2(tmp_path / "tiny-model")
    rows = [
        {"instruction": instruction, "output": f"BASELINE {at}", "generator": "gpt4_1106_preview", "dataset": "own"}
        for at, instruction in enumerate(INSTRUCTIONS)
    ]
    settings = {
        "method": "simpo",
        "model_name_or_path": str(tmp_path / "tiny-model"),
        "dataset_name": "princeton-nlp/gemma2-ultrafeedback-armorm",
        "output_dir": str(tmp_path / "out"),
        "evaluation": {
            "alpaca_eval": {"evaluation_set": str(write_jsonl(tmp_path / "set.jsonl", rows))},
            "generation": {"engine": "transformers", "temperature": 0, "max_new_tokens": 4},
        },
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return load_recipe(tmp_path / "recipe.yaml")


def evaluated(recipe: Recipe) -> tuple[dict, Path]:
    evaluate(recipe, ["alpaca_eval"], compare=["base"])
    folder = Path(recipe.training["output_dir"]) / "evaluation"
    (outcome,) = json.loads((folder / "results.json").read_text())["outcomes"]
    return outcome, folder / "base/alpaca_eval"


def test_the_weighted_preference_is_that_of_the_log_probabilities(run: Recipe, monkeypatch):
    with JudgeServer(prefers("BASELINE", 0.8)) as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.address)
        outcome, folder = evaluated(run)
        evaluated(run)
    assert len(server.requests) == len(INSTRUCTIONS)
    asked = server.requests[0]
    assert (asked["model"], asked["max_tokens"], asked["top_logprobs"]) == ("gpt-4-1106-preview", 1, 5)
    rate = next(metric for metric in outcome["metrics"] if metric["name"] == "win rate")
    assert rate["value"] == pytest.approx(20) and rate["n"] == len(INSTRUCTIONS)
    rows = json.loads((folder / "annotations.json").read_text())
    assert [row["instruction"] for row in rows] == INSTRUCTIONS
    assert [row["preference"] for row in rows] == pytest.approx([1.2] * len(INSTRUCTIONS))
    assert alpaca_eval.win_rates(folder / "annotations.json")["win_rate"] == pytest.approx(20)
    outputs = json.loads((folder / "model_outputs.json").read_text())
    assert [row["output"] for row in outputs] == [row["output_2"] for row in rows]
    assert {row["generator"] for row in outputs} == {"tiny-model"}


def test_a_judge_without_log_probabilities_leaves_pairs_out_and_says_so(run: Recipe, monkeypatch):
    with JudgeServer(lambda body, before: says("m")) as server:
        monkeypatch.setenv("JUDGE_BASE_URL", server.address)
        with pytest.raises(Exception, match="hold no preference at all"):
            evaluated(run)
        assert len(server.requests) == 3 * len(INSTRUCTIONS)
    monkeypatch.setenv("JUDGE_BASE_URL", "")
    with pytest.raises(SetupError, match="JUDGE_BASE_URL must be set"):
        evaluated(run)


def test_the_order_of_answers_and_its_undoing_are_the_librarys():
    pairs = [{"instruction": f"{n}", "output_1": f"one {n}", "output_2": f"two {n}"} for n in range(20)]
    annotator = Annotator("weighted_alpaca_eval_gpt4_turbo")
    shown = [messages[-1]["content"] for messages in annotator.questions(pairs)]
    straight = [text.index(f"one {n}") < text.index(f"two {n}") for n, text in enumerate(shown)]
    assert 4 < sum(straight) < 16
    said = {"choice": {"logprobs": {"content": [{"top_logprobs": [{"token": "m", "logprob": 0.0}]}]}}, "text": "m"}
    assert annotator.verdict(said) == 1
    found = annotator.preferences(pairs, [*[said] * 19, None])
    assert found == [*(1.0 if kept else 2.0 for kept in straight[:19]), None]


@pytest.mark.parametrize(("name", "told"), [("weighted_alpaca_gpt4_turbo", "did you mean"), ("claude_2", "anthropic")])
def test_annotators_that_no_endpoint_can_be_are_refused(name: str, told: str):
    with pytest.raises(SetupError, match=told):
        Annotator(name)


CONTROLLED = """
import json, sys
from alpaca_eval.metrics import get_length_controlled_winrate
from alignment.evaluation import alpaca_eval

rows = json.load(open(sys.argv[1]))
shuffled = rows[::-1]
theirs = get_length_controlled_winrate(rows, save_weights_dir=None)["length_controlled_winrate"]
print(json.dumps([theirs, alpaca_eval.win_rates(shuffled)["length_controlled_win_rate"]]))
"""


@pytest.mark.slow
def test_the_length_controlled_win_rate_is_the_librarys_whatever_the_order_of_rows(tmp_path: Path):
    rng = random.Random(0)
    count = 60
    asked = [f"instruction {number}" for number in range(count)]
    kept = tmp_path / "hub/datasets--tatsu-lab--alpaca_eval"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs/main").write_text("c" * 40)
    snapshot = kept / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "alpaca_eval_gpt4_baseline.json").write_text(json.dumps([{"instruction": text} for text in asked]))
    difficulty = [rng.gauss(0, 1) for _ in asked]
    lines = ["model,index,preference,std_delta_len,instruction_difficulty,not_gamed_baseline"]
    lines += [
        f"{model},{at},{rng.random()},{rng.gauss(0, 1)},{difficulty[at]},False"
        for model in ("verbose", "concise")
        for at in range(count)
    ]
    (snapshot / "df_gamed.csv").write_text("\n".join(lines) + "\n")
    rows = [
        {
            "instruction": text,
            "output_1": "x" * rng.randint(20, 200),
            "output_2": "y" * rng.randint(20, 400),
            "generator_1": "gpt4_1106_preview",
            "generator_2": "ours",
            "annotator": "weighted_alpaca_eval_gpt4_turbo",
            "preference": 1 + rng.random(),
        }
        for text in asked
    ]
    (tmp_path / "annotations.json").write_text(json.dumps(rows))
    done = subprocess.run(
        [sys.executable, "-c", CONTROLLED, str(tmp_path / "annotations.json")],
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout.splitlines()[-1])
    assert ours == pytest.approx(theirs, abs=1e-6) and 0 < ours < 100
