"""The tokens that end an answer, whatever a chat template insists on."""

from __future__ import annotations

import pytest
from tiny import gemma_tokenizer

from alignment.errors import SetupError
from alignment.modeling.stopping import stop_token_ids

TURNS = "{% for m in messages %}<start_of_turn>{{ m.role }} {{ m.content }}<end_of_turn>{% endfor %}"
INSISTING = "{% if messages[0].role != 'system' %}{{ raise_exception('no system message') }}{% endif %}" + TURNS
EOS, END_OF_TURN = 1, 5


@pytest.mark.parametrize(
    ("template", "stops"),
    [
        (TURNS, [EOS, END_OF_TURN]),
        (INSISTING, [EOS, END_OF_TURN]),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}", [EOS]),
    ],
)
def test_the_end_of_a_turn_is_found(template, stops):
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = template
    assert stop_token_ids(tokenizer) == stops


def test_a_template_that_shows_nothing_is_named():
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(SetupError, match="chat_template renders no question, alone or behind a system message"):
        stop_token_ids(tokenizer)
