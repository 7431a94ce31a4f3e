"""Which prompts of a source are answered."""

from __future__ import annotations

import hashlib

import pytest
from tiny import write_jsonl

from alignment.data.row_fault import RowFault
from alignment.errors import UserError
from alignment.pairs.prompt import prompt_of
from alignment.pairs.prompts import read_prompts


def read(place, prompts: list, *overrides: str, measure=None):
    rows = [prompt if isinstance(prompt, dict) else {"prompt": prompt} for prompt in prompts]
    write_jsonl(place.folder / "prompts.jsonl", rows)
    return read_prompts(place.recipe(*overrides), measure or (lambda: pytest.fail("no tokens were asked for")))


def texts(found) -> list[str]:
    return [prompt.messages[-1]["content"] for prompt in found]


def test_each_prompt_comes_once_in_alphabetical_order(place):
    found = read(place, ["moon", 'a "sun"', "moon", "Zebra", "a cat"])
    assert texts(found) == ["Zebra", 'a "sun"', "a cat", "moon"]
    assert found.facts["left_out"] == {"asked twice": 1} and found.facts["rows"] == 5
    assert [prompt.id for prompt in found][-1] == hashlib.sha256(b"moon").hexdigest()


def test_more_rows_keep_those_of_fewer_and_another_seed_draws_others(place):
    prompts = [f"prompt {at}" for at in range(40)]
    few, more = (texts(read(place, prompts, "--prompts.max_rows", count)) for count in ("5", "12"))
    assert len(few) == 5 and set(few) < set(more) and more == sorted(more)
    assert set(texts(read(place, prompts, "--prompts.max_rows", "5", "--prompts.seed", "1"))) != set(few)


def test_parts_that_skip_those_before_share_no_prompt_until_all_were_asked(place):
    prompts = [f"prompt {at}" for at in range(12)]
    parts = [
        set(texts(read(place, prompts, "--prompts.max_rows", "5", "--prompts.skip_rows", str(skip))))
        for skip in (0, 5, 10)
    ]
    assert [len(part) for part in parts] == [5, 5, 5] and not parts[0] & parts[1]
    assert parts[0] | parts[1] | parts[2] == set(prompts) and len(parts[2] & parts[0]) == 3


def test_prompts_are_limited_by_their_tokens(place):
    found = read(
        place, ["a", "a b", "a b c", "a b c d"], "--prompts.min_tokens", "2", "--prompts.max_tokens", "3",
        measure=lambda: lambda prompt: len(prompt.messages[0]["content"].split()),
    )  # fmt: skip
    assert texts(found) == ["a b", "a b c"]
    assert found.facts["left_out"] == {"below min_tokens": 1, "above max_tokens": 1}


def test_near_duplicates_and_other_languages_are_left_out(place):
    long = "Please tell me how the bees of a garden make honey and where they keep it in winter, step by step"
    prompts = [long, long + " now", "Bitte erkläre mir, warum der Himmel blau ist und das Gras im Garten grün"]
    found = read(place, prompts, "--prompts.near_duplicates", "0.8", "--prompts.languages", "en")
    assert texts(found) == [long]
    assert found.facts["left_out"] == {"in other languages": 1, "near duplicates": 1}


def test_prompts_that_overlap_evaluation_prompts_are_told_dropped_or_refused(place):
    write_jsonl(place.folder / "eval.jsonl", [{"prompt": "why does the moon shine at night"}])
    prompts = ["Tell me: why does the moon shine at night?", "the sun"]
    against = ("--prompts.decontaminate.against", "eval.jsonl")
    told = read(place, prompts, *against)
    assert len(told) == 2 and told.facts["overlaps"]["count"] == 1
    assert told.facts["overlaps"]["examples"][0]["shared"] == "why does the moon shine at night"
    assert texts(read(place, prompts, *against, "--prompts.decontaminate.action", "drop")) == ["the sun"]
    with pytest.raises(UserError, match="1 of 2 prompts overlap evaluation prompts"):
        read(place, prompts, *against, "--prompts.decontaminate.action", "error")
    with pytest.raises(UserError, match=r"nowhere\.jsonl does not exist"):
        place.recipe("--prompts.decontaminate.against", "nowhere.jsonl")


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"prompt": "hi"}, [("user", "hi")]),
        ({"prompt": [{"role": "user", "content": "hi"}]}, [("user", "hi")]),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}, [("user", "hi")]),
        ({"chosen": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}, [("user", "hi")]),
    ],
)
def test_a_prompt_is_what_comes_before_the_last_answer(row, asked):
    prompt = prompt_of(row, None)
    assert [(message["role"], message["content"]) for message in prompt.messages] == asked
    assert prompt.text == "hi"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "hi"}, "missing column"),
        ({"prompt": " "}, "missing prompt"),
        ({"prompt": [{"role": "assistant", "content": "hi"}]}, "missing prompt"),
        ({"prompt": [{"role": "system", "content": "hi"}]}, "missing prompt"),
        ({"prompt": [{"role": "robot", "content": "hi"}]}, "unknown role"),
        ({"prompt": [{"role": "user", "content": "hi", "name": "Ann"}]}, "name is not read"),
        ({"prompt": 7}, "not a list of messages"),
    ],
)
def test_what_is_no_prompt_is_told(row, reason):
    with pytest.raises(RowFault) as caught:
        prompt_of(row, None)
    assert caught.value.reason == reason
