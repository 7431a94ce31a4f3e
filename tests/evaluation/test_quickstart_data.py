"""The quickstart's prompts and pairs, as they are shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.scoring.rules import house_style, words

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "recipes" / "quickstart"


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (QUICKSTART / name).read_text("utf-8").splitlines()]


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
