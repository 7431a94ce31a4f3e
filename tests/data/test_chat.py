"""What `chat_template` in a recipe can be."""

from __future__ import annotations

import pytest
from tiny import gemma_tokenizer

from alignment.data import resolve_chat_template, shipped_templates
from alignment.data.chat import render
from alignment.errors import DataError, RecipeError


def test_a_name_a_file_or_jinja_itself(tmp_path, monkeypatch):
    shipped = shipped_templates()["gemma2"].read_text()
    assert resolve_chat_template("gemma2") == resolve_chat_template("gemma2.jinja") == shipped
    inline = "{% for turn in messages %}{{ turn.content }}{% endfor %}"
    assert resolve_chat_template(inline) == inline
    (tmp_path / "mine.jinja").write_text("{{ messages[0].content }}")
    assert resolve_chat_template("mine.jinja", base=tmp_path) == "{{ messages[0].content }}"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    assert resolve_chat_template("mine.jinja", base=tmp_path / "elsewhere") == "{{ messages[0].content }}"


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


def test_what_a_template_raises_is_told():
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(DataError, match="refuses a conversation of user: no system role"):
        render([{"role": "user", "content": "q"}], tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(DataError, match="chat_template is needed"):
        render([{"role": "user", "content": "q"}], tokenizer)
