"""What `chat_template` in a recipe can be."""

from __future__ import annotations

import pytest
from tiny import gemma_tokenizer

from alignment.data import resolve_chat_template, shipped_templates
from alignment.data.chat import render, render_marked
from alignment.data.pairs import RowFault
from alignment.errors import DataError, RecipeError


def test_a_name_a_file_or_jinja_itself(tmp_path, monkeypatch):
    shipped = shipped_templates()["gemma2"].read_text()
    assert resolve_chat_template("gemma2") == resolve_chat_template("gemma2.jinja") == shipped
    inline = "{% for turn in messages %}{{ turn.content }}{% endfor %}"
    assert resolve_chat_template(inline) == inline
    (tmp_path / "mine.jinja").write_text("{{ messages[0].content }}")
    assert resolve_chat_template(str(tmp_path / "mine.jinja")) == "{{ messages[0].content }}"
    monkeypatch.chdir(tmp_path)
    assert resolve_chat_template("mine.jinja") == "{{ messages[0].content }}"


def test_the_tags_of_transformers_are_valid():
    marked = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"
    assert resolve_chat_template(marked) == marked


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("gema2", "chat_template gema2 is neither .*; did you mean gemma2"),
        ("nothing-like-it", "shipped are chatml, gemma2, llama3, mistral, zephyr"),
        ("{% for m in messages %}", "is not valid Jinja: Unexpected end of template.* in line 1"),
        ("{{ a }}\n{% endif %}", "unknown tag 'endif'.* in line 2"),
    ],
)
def test_faults(value, message):
    with pytest.raises(RecipeError, match=message):
        resolve_chat_template(value)


def test_a_template_file_that_is_no_utf8_is_refused(tmp_path):
    (tmp_path / "mine.jinja").write_bytes("{{ 'Größe' }}".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"mine.jinja cannot be read as UTF-8 text: .*; save it as UTF-8\.$"):
        resolve_chat_template(str(tmp_path / "mine.jinja"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% include 'header' %}{{ 1 }}", "asks for another file .include. in line 1"),
        ("\n{% from 'macros' import turn %}{{ turn() }}", "asks for another file .fromimport. in line 2"),
        ("{{ messages | no_such_filter }}", "No filter named 'no_such_filter'"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "cannot be compiled"),
    ],
)
def test_a_template_that_can_never_render_is_refused_before_any_row(source, message):
    with pytest.raises(RecipeError, match=message):
        resolve_chat_template(source)


DOUBLING = "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (DOUBLING, "it was stopped: MemoryError"),
        ("{{ 'x' * 5000000 }}", "it makes 5,000,000 characters of"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "did not end within 0.5 sec",
        ),
    ],
)
def test_a_template_without_end_is_stopped(monkeypatch, source, message):
    monkeypatch.setattr("alignment.recipe.template_limits.SECONDS", 0.5)
    monkeypatch.setattr("alignment.recipe.template_limits.MEMORY", 100_000_000)
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = source
    with pytest.raises(RowFault, match=message) as caught:
        render([{"role": "user", "content": "q"}], tokenizer)
    assert caught.value.reason == "chat template without end"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('no system role.') }}", "on a conversation of user: no system role$"),
        ("{{ messages[3].content }}", "has no element 3"),
        ("{{ messages + 1 }}", "can only concatenate"),
        ("{{ 1 // (messages | length - 1) }}", "zero"),
        ("{% for i in range(10 ** 9) %}x{% endfor %}", "(?i)range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    ],
)
def test_whatever_a_template_does_is_a_fault_of_the_row(source, message):
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = source
    with pytest.raises(RowFault, match=message) as caught:
        render([{"role": "user", "content": "q"}], tokenizer)
    assert caught.value.reason == "refused by the chat template"


def test_without_a_template_nothing_is_rendered():
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="chat_template is needed"):
        render([{"role": "user", "content": "q"}], tokenizer)


def test_marked_blocks_are_told_by_their_place():
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}<{% generation %}{{ m.content }}{% endgeneration %}>{% endfor %}"
    messages = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}]
    assert render_marked(messages, tokenizer) == ("<ab><c>", [(1, 3), (5, 6)])
