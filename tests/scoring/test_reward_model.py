from __future__ import annotations

import json

import pytest
import torch
from scored import change_tensors, conversations, llama_config, llama_tokenizer, save_reward_model
from tiny import gemma2_config, gemma_tokenizer
from transformers import Gemma2ForSequenceClassification, LlamaForCausalLM, LlamaForSequenceClassification

from alignment.errors import DataError, SetupError
from alignment.scoring import load_scorer
from alignment.scoring.tokens import encode_messages


def alone(model, tokenizer, rows) -> list[float]:
    """The model's own answer to each conversation, one at a time and without padding."""
    ids = [tokenizer.apply_chat_template(row, return_tensors="pt", return_dict=True)["input_ids"] for row in rows]
    with torch.no_grad():
        return [model(input_ids=one).logits.item() for one in ids]


@pytest.mark.parametrize("budget", [1, 150, 100_000])
def test_scores_are_those_of_the_model_one_by_one_in_the_order_of_the_conversations(tmp_path, budget):
    folder = save_reward_model(tmp_path)
    model, rows = LlamaForSequenceClassification.from_pretrained(folder).eval(), conversations(12)
    scores = load_scorer(folder, batch_tokens=budget).score(rows)
    assert scores == pytest.approx(alone(model, llama_tokenizer(), rows), abs=1e-5)
    assert len(set(scores)) == len(rows)


def test_a_pad_token_of_the_model_is_used_and_a_soft_cap_kept(tmp_path):
    tokenizer = gemma_tokenizer()
    torch.manual_seed(0)
    config = gemma2_config(len(tokenizer), num_labels=1, attn_logit_softcapping=0.05)
    model = Gemma2ForSequenceClassification._from_config(config, attn_implementation="eager").eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    rows = conversations(8)
    assert load_scorer(str(tmp_path)).score(rows) == pytest.approx(alone(model, tokenizer, rows), abs=1e-5)


@pytest.mark.parametrize(("written", "adds_bos", "expected"), [(0, True, 1), (1, True, 1), (2, True, 1), (0, False, 0)])
def test_a_conversation_opens_with_one_bos_where_the_tokenizer_or_the_template_puts_one(written, adds_bos, expected):
    tokenizer = llama_tokenizer(adds_bos=adds_bos)
    tokenizer.chat_template = tokenizer.chat_template.replace("{{- bos_token -}}", "{{- bos_token -}}" * written)
    ids = encode_messages(conversations(1)[0], tokenizer)
    assert ids[: expected + 1] == [tokenizer.bos_token_id] * expected + [1]


def test_one_of_several_labels_is_the_score_once_it_is_stated(tmp_path):
    folder = save_reward_model(tmp_path, labels=3)
    rows = conversations(3)
    with pytest.raises(SetupError, match=r"has 3 labels.*label: 0 to 2"):
        load_scorer(str(folder))
    with pytest.raises(SetupError, match="label 3 must be from 0 to 2"):
        load_scorer(str(folder), label=3)
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    ids = llama_tokenizer().apply_chat_template(rows[1], return_tensors="pt", return_dict=True)["input_ids"]
    assert load_scorer(str(folder), label=2).score(rows)[1] == pytest.approx(model(ids).logits[0, 2].item(), abs=1e-5)


def test_a_language_model_is_no_reward_model(tmp_path):
    tokenizer = llama_tokenizer()
    LlamaForCausalLM(llama_config(len(tokenizer))).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(SetupError, match="is a LlamaForCausalLM, which has no score head"):
        load_scorer(str(tmp_path))


def test_weights_that_would_be_random_and_weights_that_would_not_be_read_are_refused(tmp_path):
    folder = save_reward_model(tmp_path)
    change_tensors(folder, lambda tensors: tensors.update({"value_head.weight": tensors.pop("score.weight")}))
    with pytest.raises(SetupError, match=r"no trained score\.weight"):
        load_scorer(str(folder))
    change_tensors(folder, lambda tensors: tensors.update({"score.weight": tensors["value_head.weight"].clone()}))
    with pytest.raises(SetupError, match=r"holds value_head\.weight, which its architecture does not read"):
        load_scorer(str(folder))


def test_a_missing_template_is_refused_and_may_be_stated(tmp_path):
    tokenizer = llama_tokenizer()
    tokenizer.chat_template = None
    folder, rows = save_reward_model(tmp_path, tokenizer=tokenizer), conversations(2)
    with pytest.raises(SetupError, match="has no chat template"):
        load_scorer(str(folder))
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    expected = alone(model, llama_tokenizer(), rows)
    assert load_scorer(str(folder), chat_template="llama3").score(rows) == pytest.approx(expected, abs=1e-5)


def test_every_conversation_that_is_too_long_is_named_and_none_is_cut(tmp_path):
    folder = save_reward_model(tmp_path, max_position_embeddings=64)
    rows = conversations(3)
    for row in (rows[0], rows[2]):
        row[0]["content"] = "why the cat runs " * 20
    with pytest.raises(DataError, match=r"conversation 0 has \d+ tokens, and may have 64[^$]*conversation 2 has"):
        load_scorer(str(folder)).score(rows)
    with pytest.raises(DataError, match=r"conversation 1 has \d+ tokens, and may have 10"):
        load_scorer(str(folder), max_length=10).score(rows)
    with pytest.raises(SetupError, match="max_length 65 must be at most 64"):
        load_scorer(str(folder), max_length=65)


def test_a_score_that_is_no_number_names_its_conversation(tmp_path):
    folder, tokenizer = save_reward_model(tmp_path), llama_tokenizer()
    poison = tokenizer("Z", add_special_tokens=False)["input_ids"][0]
    change_tensors(folder, lambda tensors: tensors["model.embed_tokens.weight"][poison].fill_(torch.nan))
    rows = conversations(3)
    rows[1][1]["content"] = "Z"
    with pytest.raises(DataError, match="conversation 1 nan is no finite number") as told:
        load_scorer(str(folder)).score(rows)
    assert len(told.value.faults) == 1


@pytest.mark.parametrize(
    ("conversation", "rule"),
    [
        ([], "must be a list of messages"),
        ("How?", "must be a list of messages"),
        ([{"role": "user", "content": "How?"}], "must end with the answer of the assistant, and ends with user"),
        ([{"role": "assistant", "content": "So."}], "must have a turn before the answer"),
        ([{"role": "user", "content": "\ud83d"}, {"role": "assistant", "content": "So."}], "Unicode, and message 0"),
        ([{"role": "user"}, {"role": "assistant", "content": "So."}], "message 0"),
        ([{"content": "How?"}, {"role": "assistant", "content": "So."}], "message 0"),
    ],
)
def test_what_is_no_conversation_is_named(tmp_path, conversation, rule):
    with pytest.raises(DataError, match=f"conversation 1 .*{rule}"):
        load_scorer(str(save_reward_model(tmp_path))).score([*conversations(1), conversation])


def test_no_conversations_have_no_scores(tmp_path):
    assert load_scorer(str(save_reward_model(tmp_path))).score([]) == []


def test_options_and_places_that_are_unknown_are_told(tmp_path):
    folder = save_reward_model(tmp_path / "model")
    with pytest.raises(SetupError, match="batch_token is no option of a reward model; did you mean batch_tokens"):
        load_scorer(str(folder), batch_token=3)
    with pytest.raises(SetupError, match="dtype float23 must be one of"):
        load_scorer(str(folder), dtype="float23")
    with pytest.raises(SetupError, match="does not exist"):
        load_scorer(str(tmp_path / "other"))
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(SetupError, match="cannot be loaded"):
        load_scorer(str(folder))
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}))
    with pytest.raises(SetupError, match="cannot be loaded"):
        load_scorer(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(SetupError, match=r"holds no config\.json"):
        load_scorer(str(folder))
