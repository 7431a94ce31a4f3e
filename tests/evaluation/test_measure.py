"""The measurement on a tiny model of random weights, and its numbers on given answers."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from tiny import gemma2, gemma_tokenizer, write_jsonl

from alignment.errors import DataError
from alignment.evaluation.before_after import compare
from alignment.evaluation.measure import holds_expected, judge_answers, measure
from alignment.generation.answers import Answer, draw_answers
from alignment.recipe.sample_evaluation import RULE_NAMES, SampleEvaluation
from alignment.redaction import portable
from alignment.scoring.rules import RULES

GOOD = "Cats purr when they feel safe and calm, but also to soothe themselves when something hurts."
PURR, RAIN = "Why do cats purr?", "Why does it rain?"


def evaluation(folder: Path) -> SampleEvaluation:
    return SampleEvaluation(
        prompts=str(folder / "prompts.jsonl"),
        control_prompts=str(folder / "control.jsonl"),
        rule="house_style",
        samples_per_prompt=2,
        max_new_tokens=6,
        batch_size=3,
        show=1,
    )


@pytest.fixture(scope="module")
def tokenizer():
    return gemma_tokenizer()


@pytest.fixture(scope="module")
def model(tokenizer):
    return gemma2(len(tokenizer))


@pytest.fixture
def prompts(tmp_path) -> Path:
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": PURR}, {"prompt": RAIN}])
    write_jsonl(tmp_path / "control.jsonl", [{"prompt": "What is the capital of France?", "expected": ["Paris"]}])
    return tmp_path


def answer(text: str, *, finished: bool = True) -> Answer:
    return Answer(text=text, finished=finished, tokens=len(text.split()))


def draw(model, tokenizer, prompts, **changes) -> list[list[Answer]]:
    settings = {"samples": 1, "max_new_tokens": 6, "temperature": 0.0, "seed": 0, "batch_size": 8}
    return draw_answers(model, tokenizer, prompts, **{**settings, **changes})


def test_greedy_answers_do_not_depend_on_padding(model, tokenizer):
    long = "the cat sleeps under a warm stone and the dog runs over the river"
    alone = draw(model, tokenizer, ["sun"])
    assert draw(model, tokenizer, [long, "sun"])[1] == alone[0]


@pytest.mark.parametrize("system", [None, "be slow"])
def test_greedy_answers_are_the_models_argmax(model, tokenizer, system):
    tokenizer = copy.copy(tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    text = "user: sun\n" if system is None else f"system: {system}\nuser: sun\n"
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    with torch.no_grad():
        for _ in range(6):
            ids = torch.cat([ids, model.eval()(ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
            if ids[0, -1] == tokenizer.eos_token_id:
                break
    expected = tokenizer.decode(ids[0, start:], skip_special_tokens=True).strip()
    assert draw(model, tokenizer, ["sun"], system=system)[0][0].text == expected


@pytest.mark.parametrize("stop", ["<eos>", "<end_of_turn>"])
def test_either_end_token_finishes_an_answer(tokenizer, stop):
    """The model is made to say one end token, whatever it reads."""
    model = gemma2(len(tokenizer))
    model.lm_head = torch.nn.Linear(model.config.hidden_size, len(tokenizer))
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()
        model.lm_head.bias[tokenizer.convert_tokens_to_ids(stop)] = 30.0
    assert draw(model, tokenizer, ["sun"]) == [[Answer(text="", finished=True, tokens=1)]]


def test_the_same_seed_draws_the_same_answers_and_leaves_the_caller_as_it_was(model, tokenizer):
    model.train()
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first = draw(model, tokenizer, ["sun", "moon"], samples=3, temperature=1.0, batch_size=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.training
    assert draw(model, tokenizer, ["sun", "moon"], samples=3, temperature=1.0, batch_size=4) == first
    assert draw(model, tokenizer, ["sun", "moon"], samples=3, temperature=1.0, batch_size=4, seed=1) != first
    assert [len(group) for group in first] == [3, 3]


def test_numbers_of_given_answers():
    measured = judge_answers(
        [PURR, RAIN],
        [[answer(GOOD), answer(GOOD)], [answer("Rain falls.", finished=False), answer("Rain falls from clouds.")]],
        [{"prompt": "What is the capital of France?", "expected": ["Paris"]}],
        [[answer("It is Paris."), answer("It is Lyon.")]],
        rule="house_style",
    )
    assert measured.compliance.by_prompt == (1.0, 0.0)
    assert measured.compliance.value == 0.5
    assert measured.control.by_prompt == (0.5,)
    assert measured.finished == 0.75
    assert measured.mean_words == (16 + 16 + 2 + 4) / 4
    assert measured.distinct == (1 / 2 + 2 / 2) / 2
    assert measured.violations == {"too_short": 0.5, "echo": 0.5, "unfinished": 0.25}


def test_expected_words_are_whole_words_in_any_case():
    assert holds_expected("PARIS, of course.", ["Paris"])
    assert not holds_expected("A comparison.", ["Paris"])
    assert holds_expected("Seven days.", ["7", "seven"])


def test_measure_and_compare_write_what_the_card_reads(model, tokenizer, prompts, capsys):
    before = measure(model, tokenizer, evaluation(prompts))
    after = judge_answers(
        [PURR, RAIN],
        [[answer(GOOD)] * 2, [answer(GOOD)] * 2],
        [{"prompt": "What is the capital of France?", "expected": ["Paris"]}],
        [[answer("Paris."), answer("Paris.")]],
        rule="house_style",
    )
    record = compare(before, after, evaluation(prompts), folder=prompts / "out")
    assert json.loads((prompts / "out" / "before_after.json").read_text()) == portable(record, root=Path.cwd())
    assert record["before"]["compliance"] == 0.0
    # "rain" is missing in the second prompt's answers: off topic.
    assert record["after"]["compliance"] == 0.5
    assert record["after"]["violations"] == {"off_topic": 0.5}
    assert record["gain"]["compliance"] == 0.5
    assert record["control"]["after"] == {"accuracy": 1.0, "ci": [0.2065, 1.0]}
    assert [(sample["kind"], sample["prompt"]) for sample in record["samples"]] == [
        ("held-out", PURR),
        ("control", "What is the capital of France?"),
    ]
    assert record["samples"][0]["after"] == GOOD
    printed = capsys.readouterr().out
    assert "0.50 [" in printed
    assert "Cats purr" in printed


def test_malformed_prompt_files_are_named_row_by_row(model, tokenizer, prompts):
    (prompts / "prompts.jsonl").write_text('{"prompt": "ok"}\n{"question": "no"}\nnot json\n')
    with pytest.raises(DataError) as caught:
        measure(model, tokenizer, evaluation(prompts))
    assert [fault.key.split(" of ")[0] for fault in caught.value.faults] == ["line 2", "line 3"]


def test_settings_out_of_range_are_faults():
    wrong = SampleEvaluation(prompts="p", rule="housestyle", samples_per_prompt=4, temperature=0.0, batch_size=0)
    faults = list(wrong.faults())
    assert faults[0].remedy == "did you mean house_style?"
    assert [fault.key for fault in faults] == [
        "sample_evaluation.rule",
        "sample_evaluation.batch_size",
        "sample_evaluation.samples_per_prompt",
    ]


def test_a_recipe_can_name_every_rule():
    assert tuple(RULES) == RULE_NAMES
