"""The quickstart's prompts and pairs, as they are shipped, and the function that makes pairs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from alignment.generation.answers import Answer
from alignment.scoring.rules import house_style, words

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "recipes" / "quickstart"


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (QUICKSTART / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("make_quickstart_pairs", ROOT / "scripts/make_quickstart_pairs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_prompt_is_in_two_files():
    groups = [
        [" ".join(words(row["prompt"])) for row in rows(f"prompts/{name}.jsonl")]
        for name in ("train", "heldout", "control")
    ]
    every = [prompt for group in groups for prompt in group]
    assert len(set(every)) == len(every)
    assert [len(group) for group in groups] == [140, 40, 20]


@pytest.mark.parametrize(("data", "prompts", "least"), [("train", "train", 90), ("test", "heldout", 10)])
def test_pairs_are_whole_conversations_on_their_own_prompts(data, prompts, least):
    known = {row["prompt"] for row in rows(f"prompts/{prompts}.jsonl")}
    pairs = rows(f"data/{data}.jsonl")
    assert len(pairs) >= least
    for pair in pairs:
        assert pair["prompt"] in known
        for side in ("chosen", "rejected"):
            question, answer = pair[side]
            assert question == {"role": "user", "content": pair["prompt"]}
            assert answer["role"] == "assistant"
        assert pair["chosen"] != pair["rejected"]


@pytest.mark.parametrize("data", ["train", "test"])
def test_every_chosen_answer_keeps_the_rule_and_every_rejected_one_breaks_it(data):
    for pair in rows(f"data/{data}.jsonl"):
        chosen = house_style(pair["prompt"], pair["chosen"][1]["content"], True)
        assert chosen.complies, pair
        assert pair["score_chosen"] == 1.0
        # Whether a rejected answer had finished is not in the file; its score says so.
        rejected = [house_style(pair["prompt"], pair["rejected"][1]["content"], finished) for finished in (True, False)]
        assert pair["score_rejected"] in [round(judgment.score, 3) for judgment in rejected]
        assert pair["score_rejected"] <= 0.7


def test_the_data_stay_small():
    assert sum(path.stat().st_size for path in QUICKSTART.rglob("*.jsonl")) < 400_000


GOOD = "Cats purr when they feel safe and calm, but also to soothe themselves when something hurts."
LONGER = GOOD[:-1] + ", and some cats even do it to ask the people whom they trust for a meal."
RUNS_ON = Answer(text="Cats purr", finished=False, tokens=96)
FALLS_SHORT = Answer(text="Cats purr.", finished=True, tokens=3)


def made(maker, *answers: Answer | str, gap: float = 0.3) -> list[tuple[str, str]]:
    drawn = [Answer(text=item, finished=True, tokens=20) if isinstance(item, str) else item for item in answers]
    rows = maker.pairs("Why do cats purr?", drawn, rule="house_style", gap=gap)
    return [(row["chosen"][1]["content"], row["rejected"][1]["content"]) for row in rows]


def test_one_pair_against_running_on_and_one_against_falling_short(maker):
    # 30 words are nearer to the middle of 12 to 50 than 16 are, and a text counts once.
    assert made(maker, FALLS_SHORT, GOOD, LONGER, LONGER, RUNS_ON) == [
        (LONGER, RUNS_ON.text),
        (GOOD, FALLS_SHORT.text),
    ]


def test_a_single_good_answer_stands_in_both_pairs(maker):
    assert made(maker, RUNS_ON, GOOD, FALLS_SHORT) == [(GOOD, RUNS_ON.text), (GOOD, FALLS_SHORT.text)]


def test_the_worst_of_its_kind_is_rejected(maker):
    milder = Answer(text=GOOD, finished=False, tokens=96)
    assert made(maker, LONGER, milder, RUNS_ON) == [(LONGER, RUNS_ON.text)]


def test_a_pair_needs_a_complying_answer_and_a_gap(maker):
    nearly = GOOD.rstrip(".")
    assert made(maker, nearly, RUNS_ON) == []
    assert made(maker, GOOD, nearly, gap=0.5) == []
    assert made(maker, GOOD, nearly, gap=0.2) == [(GOOD, nearly)]


def test_samples_on_disk_are_not_drawn_again(maker, tmp_path):
    answer = {"text": "Paris.", "finished": True, "tokens": 2}
    store = tmp_path / "samples.jsonl"
    maker.write_rows(store, [{"prompt": "p", "answers": [answer]}])
    assert maker.sample(["p"], store, options=None) == {"p": [Answer(**answer)]}
