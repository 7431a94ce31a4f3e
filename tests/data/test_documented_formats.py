"""What docs/data.md says of the formats holds: every example gives the token ids of its canonical row."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from tiny import gemma_tokenizer

from alignment.data import SFTRules, TokenRules, check_rows, prepare_rows
from alignment.data.formats import FORMATS
from alignment.errors import DataError

ASK = {"role": "user", "content": "q"}
GOOD = {"role": "assistant", "content": "good"}
BAD = {"role": "assistant", "content": "bad"}
DOCS = Path(__file__).parents[2] / "docs" / "data.md"
QUESTION, BETTER, WORSE = "Why is the sky blue?", "Air scatters blue.", "It mirrors the sea."
CANONICAL = {
    "preference": {
        "chosen": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": BETTER}],
        "rejected": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": WORSE}],
    },
    "conversation": {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": BETTER}]},
}


def documented() -> list[tuple[str, dict]]:
    """The examples of the tables: the name of the format, and the row."""
    cells = (line.strip("| ").split(" | ") for line in DOCS.read_text().splitlines() if line.startswith("| `"))
    return [(row[0].strip("`"), json.loads(row[2].strip("`"))) for row in cells if row[2].startswith("`{")]


@pytest.fixture(scope="module")
def tokenizer():
    return gemma_tokenizer()


def ids_of(rows, kind, tokenizer):
    rules = TokenRules(max_length=200, max_prompt_length=100) if kind == "preference" else SFTRules(max_length=200)
    return prepare_rows(rows, tokenizer, rules).dataset[:]


@pytest.mark.parametrize(("name", "row"), documented())
def test_every_example_of_the_documentation_gives_the_tokens_of_the_canonical_row(name, row, tokenizer):
    for kind in ("preference", "conversation"):
        if kind == "preference" and FORMATS[name].gives == "conversation":
            continue
        canonical = ids_of(check_rows([CANONICAL[kind]], kind=kind).dataset, kind, tokenizer)
        for rows in ([row], datasets.Dataset.from_list([row])):
            checked = check_rows(rows, kind=kind)
            assert kind != FORMATS[name].gives or checked.format == name
            assert ids_of(checked.dataset, kind, tokenizer) == canonical


def test_every_format_is_documented():
    assert {name for name, _ in documented()} == {*FORMATS} - {"text"}


def test_text_is_trained_whole(tokenizer):
    checked = check_rows([{"text": "The moon shines."}, {"text": "<bos>The moon shines.<eos>"}], kind="conversation")
    ids = ids_of(checked.dataset, "conversation", tokenizer)
    words = tokenizer("The moon shines.", add_special_tokens=False)["input_ids"]
    assert checked.format == "text"
    assert ids["input_ids"] == [[2, *words, 1]] * 2
    assert ids["labels"] == [[-100, *words, 1]] * 2
    with pytest.raises(DataError, match="empty text"):
        check_rows([{"text": " "}], kind="conversation")


SPEAKING = (
    "{{ bos_token }}{% if tools %}TOOLS {{ tools | tojson }}\n{% endif %}{% for m in messages %}"
    "<start_of_turn>{{ m.role }}\n{{ m.content }}{% for t in m.tool_calls or [] %} CALL {{ t.function | tojson }}"
    "{% endfor %}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
)


def test_tools_and_calls_reach_the_template_whatever_their_spelling():
    tool = {"name": "look", "description": "d", "parameters": {"type": "object"}}
    call = {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"at": 1}}}],
    }
    turns = [ASK, call, {"role": "tool", "content": "42"}]
    canonical = {"tools": [tool], "prompt": turns, "chosen": [GOOD], "rejected": [BAD]}
    spelled = {
        "tools": json.dumps([tool]),
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": '{"name": "look", "arguments": {"at": 1}}'},
            {"from": "observation", "value": "42"},
        ],
        "chosen": {"from": "gpt", "value": "good"},
        "rejected": {"from": "gpt", "value": "bad"},
    }
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = SPEAKING
    ids = [
        ids_of(check_rows([row], kind="preference").dataset, "preference", tokenizer) for row in (canonical, spelled)
    ]
    assert ids[0] == ids[1]
    assert 'CALL {"name": "look", "arguments": {"at": 1}}' in tokenizer.decode(ids[0]["prompt_ids"][0])
    named = {"prompt": [{**ASK, "name": "ann"}], "chosen": [GOOD], "rejected": [BAD]}
    with pytest.raises(DataError, match="name not rendered by the chat template"):
        ids_of(check_rows([named], kind="preference").dataset, "preference", tokenizer)
