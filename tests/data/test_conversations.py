"""Which tokens of a conversation supervised fine-tuning trains."""

from __future__ import annotations

import pytest
from tiny import gemma_tokenizer

from alignment.data import SFTRules, check_rows, prepare_rows, resolve_chat_template, shipped_templates
from alignment.data.encode import labels_of
from alignment.data.template_markers import begin_with_bos
from alignment.errors import DataError
from alignment.recipe.chat_templates import GENERATION

TURNS = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "First?"},
    {"role": "assistant", "content": "One."},
    {"role": "user", "content": "Second?"},
    {"role": "assistant", "content": "Two."},
]
ANSWERS = {
    "gemma2": "One.<end_of_turn>\n¦Two.<end_of_turn>\n",
    "llama3": "One.<|eot_id|>¦Two.<|eot_id|><eos>",
    "mistral": " One. <eos>¦ Two. <eos>",
    "zephyr": "One.<eos>\n¦Two.<eos>\n",
    "chatml": "One.<|im_end|>\n¦Two.<|im_end|>\n<eos>",
}
"""The stand-in tokenizer knows neither <|eot_id|> nor <|im_end|>, so that eos must end the last answer."""


def trained(rows, *, template="gemma2", **settings):
    """Of each row the spans of trained tokens, as text joined by `¦`."""
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = template if "{%" in template else resolve_chat_template(template)
    tokenizer.chat_template = begin_with_bos(tokenizer)
    rules = SFTRules(**{"max_length": 300, **settings})
    prepared = prepare_rows(check_rows(rows, kind="conversation").dataset, tokenizer, rules)
    return ["¦".join(_spans(row, tokenizer)) for row in prepared.dataset]


def _spans(row, tokenizer):
    spans, before = [], False
    for token, label in zip(row["input_ids"], row["labels"], strict=True):
        assert label in (token, -100)
        if label == token:
            spans[-1:] = [[*spans[-1], token]] if before else [*spans[-1:], [token]]
        before = label == token
    return [tokenizer.decode(span) for span in spans]


@pytest.mark.parametrize("name", shipped_templates())
def test_every_answer_is_trained_with_its_end_marked_or_not(name):
    bare = GENERATION.sub("", resolve_chat_template(name))
    assert "generation -%" not in bare
    for template in (name, bare):
        assert trained([{"messages": TURNS}], template=template) == [ANSWERS[name]]
        last = trained([{"messages": TURNS}], template=template, assistant_turns="last")
        assert last == [ANSWERS[name].split("¦")[1]]


def test_of_a_prompt_and_a_preference_row_the_answer_is_trained():
    rows = [
        {"prompt": TURNS[:-1], "completion": TURNS[-1:]},
        {"prompt": TURNS[:2], "completion": TURNS[2:]},
    ]
    assert trained(rows) == ["Two.<end_of_turn>\n", ANSWERS["gemma2"]]
    assert trained([{"chosen": TURNS, "rejected": TURNS}]) == ["Two.<end_of_turn>\n"]


def test_everything_is_trained_on_request():
    whole = trained([{"messages": TURNS}], answers_only=False)
    assert whole[0].startswith("<bos><start_of_turn>user\nBe kind.")
    assert whole[0].endswith("Two.<end_of_turn>\n")


def test_truncation_keeps_the_start_or_the_end():
    row = {"messages": TURNS}
    assert trained([row], max_length=30)[0].startswith("One.")
    assert "Two" not in trained([row], max_length=30)[0]
    assert trained([row], max_length=8, truncation_mode="keep_end") == ["Two.<end_of_turn>\n"]
    assert trained([row], max_length=None) == [ANSWERS["gemma2"]]


LAST_OTHERWISE = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n"
    "{% if loop.last and m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
)


def test_a_template_that_renders_the_last_answer_otherwise():
    assert trained([{"messages": TURNS}], template=LAST_OTHERWISE) == [
        "One.<end_of_turn>\n¦<think></think>Two.<end_of_turn>\n"
    ]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{{ messages | length }}{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}",
            "turn 2 are rendered differently once it follows; enclose what the assistant says in {% generation %}",
        ),
        (
            "{% for m in messages %}<start_of_turn>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
            "{% endgeneration %}{% else %}{{ m.content }}{% endif %}<end_of_turn>{% endfor %}",
            "the token that ends the answer is not trained; put the end of the turn into the {% generation %} block",
        ),
    ],
)
def test_a_template_that_does_not_show_its_answers_is_refused_with_the_remedy(template, message):
    with pytest.raises(DataError) as caught:
        trained([{"messages": TURNS}], template=template)
    assert message in str(caught.value)


def test_a_token_belongs_to_the_answer_it_ends_in():
    #            he (0, 2)  ad+an (2, 6)  sw (6, 8)  er+us (8, 12)
    ids, offsets = [5, 6, 7, 8], [(0, 2), (2, 6), (6, 8), (8, 12)]
    assert labels_of(ids, offsets, [(4, 10)]) == [-100, 6, 7, -100]
    assert labels_of(ids, offsets, [(0, 2), (8, 12)]) == [5, -100, -100, 8]
