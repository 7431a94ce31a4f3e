"""The quickstart's prompts and pairs, as they are shipped, and the function that makes pairs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from alignment.sampling.generate import Answer
from alignment.sampling.rules import house_style, words

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
        assert pair["score_rejected"] in [round(judgement.score, 3) for judgement in rejected]
        assert pair["score_rejected"] <= 0.5


def test_the_data_stay_small():
    assert sum(path.stat().st_size for path in QUICKSTART.rglob("*.jsonl")) < 400_000


def test_pairs_rank_by_score_and_take_a_text_once(maker):
    good = "Cats purr when they feel safe and calm, but also to soothe themselves when something hurts."
    other = "Cats purr with their throat, mostly when they rest, eat or sit with people whom they trust."
    answers = [
        Answer(text="Cats purr.", finished=True, tokens=3),
        Answer(text=good, finished=True, tokens=20),
        Answer(text=good, finished=True, tokens=20),
        Answer(text=other, finished=True, tokens=20),
        Answer(text="The rain", finished=False, tokens=96),
    ]
    made = maker.pairs("Why do cats purr?", answers, rule="house_style", gap=0.5, limit=3)
    assert [(pair["chosen"][1]["content"], pair["rejected"][1]["content"]) for pair in made] == [
        (good, "The rain"),
        (other, "Cats purr."),
    ]


def test_a_pair_needs_a_complying_answer_and_a_gap(maker):
    good = "Cats purr when they feel safe and calm, but also to soothe themselves when something hurts."
    nearly = good.rstrip(".")
    bad = "Cats purr."

    def made(texts, gap):
        answers = [Answer(text=text, finished=True, tokens=9) for text in texts]
        return maker.pairs("Why do cats purr?", answers, rule="house_style", gap=gap, limit=2)

    assert made([nearly, bad], 0.1) == []
    assert made([good, nearly], 0.5) == []
    assert len(made([good, nearly], 0.2)) == 1


def test_samples_on_disk_are_not_drawn_again(maker, tmp_path):
    answer = {"text": "Paris.", "finished": True, "tokens": 2}
    store = tmp_path / "samples.jsonl"
    maker.write_rows(store, [{"prompt": "p", "answers": [answer]}])
    assert maker.sample(["p"], store, options=None) == {"p": [Answer(**answer)]}
