"""The house style, one worked example for each violation."""

from __future__ import annotations

import pytest

from alignment.scoring.rules import PENALTIES, RULES, house_style, repeats, words

QUESTION = "Why do cats purr?"
GOOD = "Cats purr when they feel safe and calm, but also to soothe themselves when something hurts."


def found(answer: str, *, finished: bool = True, question: str = QUESTION) -> tuple[str, ...]:
    return house_style(question, answer, finished).violations


def test_a_complete_plain_short_answer_complies_and_scores_one():
    judgment = house_style(QUESTION, GOOD, True)
    assert judgment.complies
    assert judgment.score == 1.0


@pytest.mark.parametrize(
    ("violation", "answer"),
    [
        ("too_short", "Cats purr when calm, safe, warm or hurt."),
        ("too_long", "Cats purr " + " ".join(f"w{number}" for number in range(49)) + "."),
        ("too_many_sentences", "Cats purr when calm. They feel safe. They rest well. Some do it when hurt or ill."),
        ("no_full_stop", GOOD.rstrip(".")),
        ("markup", "Cats purr when they feel **safe** and calm, but also to soothe themselves when something hurts."),
        ("several_paragraphs", GOOD.replace("calm, but", "calm,\n\nbut")),
        (
            "echo",
            "Why do cats purr, you say. Cats do so when they feel safe, calm and loved by people.",
        ),
        ("asks_back", "Cats purr when they feel safe and calm, and to soothe themselves. Is your cat purring now?"),
        ("repeats", "Cats purr when they feel safe, and when they feel safe they also rest and groom."),
        ("off_topic", "The weather gets colder in winter because the days are short and the sunlight is weak."),
        ("chatter", "Sure, " + GOOD),
    ],
)
def test_each_violation_is_named_and_takes_its_penalty_off(violation, answer):
    judgment = house_style(QUESTION, answer, True)
    assert judgment.violations == (violation,)
    if violation not in ("too_short", "too_long"):
        assert judgment.score == pytest.approx(1 - PENALTIES[violation])


def test_an_answer_that_was_cut_off_is_unfinished():
    assert found(GOOD, finished=False) == ("unfinished",)


def test_the_penalty_of_a_wrong_length_grows_with_the_distance():
    # 8 of at least 12 words: a third is missing.
    assert house_style(QUESTION, "Cats purr when calm, safe, warm or hurt.", True).score == pytest.approx(1 - 4 / 12)
    # 51 and 60 of at most 50 words: a fiftieth and a fifth too many; twice the limit or more costs the whole point.
    for size, penalty in ((51, 1 / 50), (60, 10 / 50), (100, 1.0), (200, 1.0)):
        answer = "Cats purr " + " ".join(f"w{number}" for number in range(size - 2)) + "."
        assert house_style(QUESTION, answer, True).score == pytest.approx(1 - penalty)


@pytest.mark.parametrize("size", [12, 50])
def test_the_bounds_of_the_length_are_allowed(size):
    assert found("Cats purr " + " ".join(f"w{number}" for number in range(size - 2)) + ".") == ()


def test_few_new_words_are_an_echo():
    # Six words that the question lacks are asked for; here are four: "so", "often", "and", "loudly".
    assert "echo" in found("Cats do purr, and cats do purr so often, and so often cats purr loudly.")


@pytest.mark.parametrize("opening", ["1. ", "- ", "* ", "# ", "> "])
def test_lists_headings_and_quotes_are_markup(opening):
    assert "markup" in found(opening + GOOD)


def test_an_enumeration_within_a_line_is_markup_but_a_number_is_not():
    assert "markup" in found(
        "Cats purr for two reasons: 1. they feel calm and safe, 2. they soothe themselves when hurt."
    )
    assert found("Cats purr about 25 times a second, from the age of 2 weeks on until they are 20.") == ()


def test_a_quotation_mark_after_the_full_stop_is_allowed():
    assert found("Cats purr to say, as an old saying has it, “I am safe, warm and quite content with you.”") == ()


def test_a_question_without_subject_words_has_no_off_topic():
    assert "off_topic" not in found(GOOD, question="What is it?")


def test_inflected_forms_share_the_subject():
    assert found("Purring tells us that a feline is calm, and it may also help it to heal.") == ()


def test_words_and_repeats():
    assert words("It\u2019s a well-known 12.5% of H2O.") == ["it\u2019s", "a", "well-known", "12", "5", "of", "h2o"]
    assert repeats(list("abcdxabcd"), 4)
    assert not repeats(list("abcxabc"), 4)


def test_the_table_names_the_rule():
    assert RULES["house_style"].judge(QUESTION, GOOD, True).complies
