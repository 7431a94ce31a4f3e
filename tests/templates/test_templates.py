"""Each shipped template against worked examples, and against the two rules that tokenization relies on."""

from __future__ import annotations

import jinja2
import pytest
from tiny import gemma_tokenizer

from alignment.data import resolve_chat_template, shipped_templates
from alignment.data.chat import render, render_marked
from alignment.data.pairs import RowFault
from alignment.recipe.chat_templates import GenerationBlock

SYSTEM = {"role": "system", "content": " Be brief. "}
EMPTY_SYSTEM = {"role": "system", "content": ""}
ASK = {"role": "user", "content": " What is 2 + 2?\n"}
ANSWER = {"role": "assistant", "content": "\n4."}
AGAIN = {"role": "user", "content": "And 3 + 3?"}
SIX = {"role": "assistant", "content": "6."}

WORKED = {
    "gemma2": {
        "plain": "<bos><start_of_turn>user\nWhat is 2 + 2?<end_of_turn>\n<start_of_turn>model\n4.<end_of_turn>\n",
        "system": "<bos><start_of_turn>user\nBe brief.\n\n What is 2 + 2?<end_of_turn>\n"
        "<start_of_turn>model\n4.<end_of_turn>\n",
        "turns": "<bos><start_of_turn>user\nWhat is 2 + 2?<end_of_turn>\n<start_of_turn>model\n4.<end_of_turn>\n"
        "<start_of_turn>user\nAnd 3 + 3?<end_of_turn>\n<start_of_turn>model\n6.<end_of_turn>\n",
        "header": "<start_of_turn>model\n",
    },
    "llama3": {
        "plain": "<bos><|start_header_id|>user<|end_header_id|>\n\nWhat is 2 + 2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n4.<|eot_id|>",
        "system": "<bos><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhat is 2 + 2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n4.<|eot_id|>",
        "turns": "<bos><|start_header_id|>user<|end_header_id|>\n\nWhat is 2 + 2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n4.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nAnd 3 + 3?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n6.<|eot_id|>",
        "header": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    },
    "mistral": {
        "plain": "<bos>[INST] What is 2 + 2? [/INST] 4. <eos>",
        "system": "<bos>[INST] Be brief.\n\n What is 2 + 2? [/INST] 4. <eos>",
        "turns": "<bos>[INST] What is 2 + 2? [/INST] 4. <eos>[INST] And 3 + 3? [/INST] 6. <eos>",
        "header": "",
    },
    "zephyr": {
        "plain": "<|system|>\n<eos>\n<|user|>\n What is 2 + 2?\n<eos>\n<|assistant|>\n\n4.<eos>\n",
        "system": "<|system|>\n Be brief. <eos>\n<|user|>\n What is 2 + 2?\n<eos>\n<|assistant|>\n\n4.<eos>\n",
        "turns": "<|system|>\n<eos>\n<|user|>\n What is 2 + 2?\n<eos>\n<|assistant|>\n\n4.<eos>\n"
        "<|user|>\nAnd 3 + 3?<eos>\n<|assistant|>\n6.<eos>\n",
        "header": "<|assistant|>\n",
    },
    "chatml": {
        "plain": "<|im_start|>user\n What is 2 + 2?\n<|im_end|>\n<|im_start|>assistant\n\n4.<|im_end|>\n",
        "system": "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n What is 2 + 2?\n<|im_end|>\n"
        "<|im_start|>assistant\n\n4.<|im_end|>\n",
        "turns": "<|im_start|>user\n What is 2 + 2?\n<|im_end|>\n<|im_start|>assistant\n\n4.<|im_end|>\n"
        "<|im_start|>user\nAnd 3 + 3?<|im_end|>\n<|im_start|>assistant\n6.<|im_end|>\n",
        "header": "<|im_start|>assistant\n",
    },
}


@pytest.fixture(scope="module")
def tokenizer():
    return gemma_tokenizer()


def with_template(tokenizer, name):
    tokenizer.chat_template = resolve_chat_template(name)
    return tokenizer


def test_every_shipped_template_has_a_worked_example():
    assert set(shipped_templates()) == set(WORKED)


@pytest.mark.parametrize("name", WORKED)
def test_worked_examples(tokenizer, name):
    tokenizer = with_template(tokenizer, name)
    assert render([ASK, ANSWER], tokenizer) == WORKED[name]["plain"]
    assert render([SYSTEM, ASK, ANSWER], tokenizer) == WORKED[name]["system"]
    assert render([ASK, ANSWER, AGAIN, SIX], tokenizer) == WORKED[name]["turns"]


@pytest.mark.parametrize("name", WORKED)
@pytest.mark.parametrize("prompt", [[ASK], [SYSTEM, ASK], [ASK, ANSWER, AGAIN]])
def test_the_conversation_continues_the_prompt_and_its_generation_prompt(tokenizer, name, prompt):
    tokenizer = with_template(tokenizer, name)
    start = render(prompt, tokenizer)
    opened = render(prompt, tokenizer, add_generation_prompt=True)
    assert opened == start + WORKED[name]["header"]
    assert render([*prompt, SIX], tokenizer).startswith(opened)


@pytest.mark.parametrize("name", WORKED)
def test_every_answer_is_marked_from_behind_its_header_to_the_end_of_its_turn(tokenizer, name):
    tokenizer = with_template(tokenizer, name)
    text, marked = render_marked([SYSTEM, ASK, ANSWER, AGAIN, SIX], tokenizer)
    spans = []
    for said in ([SYSTEM, ASK, ANSWER], [SYSTEM, ASK, ANSWER, AGAIN, SIX]):
        asked = render(said[:-1], tokenizer, add_generation_prompt=True)
        spans.append((len(asked), len(render(said, tokenizer))))
    assert marked == spans
    assert text == render([SYSTEM, ASK, ANSWER, AGAIN, SIX], tokenizer)


@pytest.mark.parametrize("name", ["gemma2", "mistral", "zephyr"])
def test_an_empty_system_message_is_as_good_as_none(tokenizer, name):
    tokenizer = with_template(tokenizer, name)
    assert render([EMPTY_SYSTEM, ASK, ANSWER], tokenizer) == render([ASK, ANSWER], tokenizer)


@pytest.mark.parametrize("name", WORKED)
@pytest.mark.parametrize("blocks", [True, False])
def test_rendering_does_not_depend_on_the_environments_white_space_settings(name, blocks):
    environment = jinja2.Environment(
        extensions=[GenerationBlock], trim_blocks=blocks, lstrip_blocks=blocks, keep_trailing_newline=not blocks
    )
    template = environment.from_string(resolve_chat_template(name))
    text = template.render(messages=[ASK, ANSWER], bos_token="<bos>", eos_token="<eos>", add_generation_prompt=False)
    assert text.rstrip("\n") == WORKED[name]["plain"].rstrip("\n")


def test_mistral_refuses_roles_it_has_no_form_for(tokenizer):
    tool = {"role": "tool", "content": "42"}
    with pytest.raises(RowFault, match="user and assistant, not tool"):
        render([ASK, tool], with_template(tokenizer, "mistral"))
