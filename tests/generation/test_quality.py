"""What a collapsed model's answers look like, with numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alignment.data.words import words_of
from alignment.generation.answers import Answer
from alignment.generation.quality import Quality, distinct, echoes, findings, loops, quality, wilson_low


def answer(text: str, *, finished: bool = True) -> Answer:
    return Answer(text=text, finished=finished, tokens=1)


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("I will go. I will go. I will go.", True),  # runs of four: 6, different: 3
        ("no " * 8, True),
        ("no " * 7, False),  # too short to tell
        # 13 runs of 16 words, 4 of them said before: 31 %
        ("a b c d e f g h a b c d e f g x", True),
        # 14 runs of 17 words, 4 said before: 29 %
        ("a b c d e f g h a b c d e f g x y", False),
        ("The sun warms the ground, the ground warms the air, and warm air rises above the cold sea.", False),
        ("我爱你我爱你我爱你我爱你", True),
        ("ha" * 20, True),
        ("ha" * 19, False),
        ("| a | b |\n" + "|" + "-" * 60 + "|\nBoth are letters.", False),
        ("", False),
    ],
)
def test_loops(text, loop):
    assert loops(text, words_of(text).split()) is loop


@pytest.mark.parametrize(
    ("prompt", "text", "echo"),
    [
        ("Why is the sky blue in the day?", "Why is the sky blue in the day?", True),
        ("Why?", "Why?", True),
        ("Why?", "Because.", False),
        ("Why is the sky so blue in the day?", "Air scatters blue light more than red light.", False),
        # runs of four: 6 of 7 stand in the prompt, 86 %
        ("a b c d e f g h i", "a b c d e f g h i z", True),
        # 6 of 8: 75 %
        ("a b c d e f g h i", "a b c d e f g h i y z", False),
        ("Say it.", "", False),
    ],
)
def test_echoes(prompt, text, echo):
    assert echoes(words_of(prompt).split(), words_of(text).split()) is echo


def test_distinct_runs():
    texts = [["a", "b", "a", "b"], ["a", "b"], []]
    assert distinct(texts, 1) == pytest.approx(2 / 6)
    assert distinct(texts, 2) == pytest.approx(2 / 4)  # ab ba ab, ab
    assert distinct(texts, 3) == pytest.approx(2 / 2)
    assert distinct(texts, 5) == 0


def test_the_shares_of_a_set_of_answers():
    prompts = ["Why is it so cold on the moon?"] * 4
    found = quality(
        prompts,
        [
            answer("It has no air.", finished=False),
            answer("!!! \n"),
            answer("so it is so it is so it is so it is"),
            answer("Why is it so cold on the moon?"),
        ],
    )
    assert (found.answers, found.unfinished, found.empty, found.repeating, found.echoing) == (4, *[0.25] * 4)
    assert found.mean_words == (4 + 0 + 12 + 8) / 4
    # it has no air so is why cold on the moon: 11 of 24
    assert found.distinct[0] == pytest.approx(11 / 24)
    assert found.summary()["distinct"][0] == 0.4583 and found.summary()["empty"] == 0.25


def test_an_answer_for_each_prompt():
    with pytest.raises(ValueError):
        quality(["a", "b"], [answer("c")])
    with pytest.raises(ValueError):
        quality([], [])


SOUND = Quality(
    answers=100, unfinished=0.1, empty=0.0, repeating=0.02, echoing=0.01, distinct=(0.3, 0.7, 0.9), mean_words=60
)


def test_the_interval_is_wilson_s():
    # p 0.3, n 10, z 1.96: (0.3 + 3.8416/20 - 1.96 sqrt(0.21/10 + 3.8416/400)) / (1 + 0.38416)
    assert wilson_low(0.3, 10) == pytest.approx(0.1078, abs=1e-4)
    assert wilson_low(0.0, 10) == 0


@pytest.mark.parametrize(
    ("change", "name", "collapsed", "told"),
    [
        ({"repeating": 0.43}, "repeating", True, "43% of 100 answers are repeating (base 2%); more than 20%"),
        ({"empty": 0.2}, "empty", True, "20% of 100 answers are empty (base 0%); more than 5%"),
        ({"echoing": 1.0}, "echoing", True, "100% of 100 answers are echoing"),
        ({"distinct": (0.1, 0.3, 0.4)}, "distinct", True, "30% of all pairs of words are different ones (base 70%)"),
        ({"unfinished": 0.5}, "unfinished", False, "50% of 100 answers do not end (base 10%)"),
        ({"mean_words": 19}, "mean_words", False, "Answers have 19 words on average (base 60)"),
        ({"mean_words": 181}, "mean_words", False, "Answers have 181 words on average (base 60)"),
    ],
)
def test_what_sound_models_do_not_do_is_told_with_its_numbers(change, name, collapsed, told):
    (finding,) = findings(replace(SOUND, **change), SOUND)
    assert (finding.name, finding.collapsed) == (name, collapsed) and told in finding.message
    assert finding.message.startswith("The model has collapsed: ") is collapsed


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"repeating": 0.25},  # its interval begins at 0.18
        {"empty": 0.08},
        {"unfinished": 0.39},
        {"mean_words": 20.0},
        {"mean_words": 180.0},
        {"distinct": (0.1, 0.3, 0.4), "mean_words": 130},  # longer answers repeat more words
        {"distinct": (0.1, 0.36, 0.4)},
        {"answers": 7, "repeating": 1.0},
    ],
)
def test_sound_and_doubtful_models_are_left_alone(change):
    assert findings(replace(SOUND, **change), SOUND) == []


def test_prompts_that_any_model_echoes_are_no_collapse():
    copying = replace(SOUND, echoing=0.6)
    assert [finding.name for finding in findings(copying)] == ["echoing"]
    assert findings(replace(SOUND, echoing=0.7), copying) == []


def test_without_a_base_only_what_no_sound_model_does_is_told():
    broken = replace(SOUND, unfinished=1.0, mean_words=1000, repeating=0.9)
    assert [finding.name for finding in findings(broken)] == ["repeating"]
