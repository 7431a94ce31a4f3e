"""Rehearsals: the whole life of a recipe, and the pieces they are made of."""

from __future__ import annotations

import dataclasses

import datasets
import huggingface_hub
import pytest
import yaml
from processes import ROOT, run, single
from tiny import gemma2_config, gemma_tokenizer, preference_rows, write_jsonl
from transformers import AutoConfig, AutoTokenizer, LlamaConfig

from alignment.errors import DataError
from alignment.methods import METHODS
from alignment.recipe import DataArguments, ModelArguments, available_recipes, load_recipe
from alignment.recipe.files import stated_method
from alignment.rehearsal.families import FAMILIES, KNOWN
from alignment.rehearsal.miniature import build_miniature, shrink
from alignment.rehearsal.rows import rehearsal_rows, shortest, texts_of
from alignment.rehearsal.shrunk import shrunk_settings


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "everything"), [("gemma2-simpo", True), ("tiny/dpo", False)])
def test_the_whole_life(tmp_path, recipe, everything):
    prompts = ROOT / "recipes/quickstart/prompts/control.jsonl"
    sampled = ["--sample_evaluation.prompts", prompts, "--sample_evaluation.rule", "house_style"]
    more = [*sampled, "--report_to", "[trackio, tensorboard]", "--push_to_hub", "true"] if everything else []
    done = run(single(ROOT / "scripts/rehearse.py", "--config", recipe, *more), tmp_path / "log")
    assert done.code == 0, done.output
    assert done.output.count("passed") == 6
    assert ("answers compared" in " ".join(done.output.split())) == everything
    assert "ZeRO-3 on 2 processes, 6 steps" in done.output
    assert "the weights came back byte for byte" in done.output
    assert "A rehearsal cannot prove" in done.output


@pytest.mark.parametrize("name", [name for name in available_recipes() if stated_method(name) in METHODS])
def test_every_shipped_recipe_can_be_rehearsed(tmp_path, name):
    """Its family is known, and what is left of it when shrunk is a recipe without faults, of the same method."""
    recipe = load_recipe(name)
    assert recipe.model.model_name_or_path in KNOWN
    settings, _ = shrunk_settings(recipe, model=tmp_path / "model", data=tmp_path / "data", output=tmp_path / "out")
    gemma2_config().save_pretrained(tmp_path / "model")
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        write_jsonl(tmp_path / f"data/{split}.jsonl", preference_rows(4))
    path = tmp_path / "rehearsal.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True))
    small = load_recipe(path)
    assert small.method == recipe.method
    assert (small.sample_evaluation is None) == (recipe.sample_evaluation is None)
    for key in ("learning_rate", "beta", "gamma_beta_ratio", "max_grad_norm", "packing", "use_peft", "lora_r"):
        assert small.resolved.get(key) == recipe.resolved.get(key), key
    assert small.config(world_size=2).max_steps == 6


def test_rows_are_rehearsed_in_canonical_form_so_the_recipes_format_is_left_out(tmp_path):
    overrides = ["--dataset_format", "scored_answers", "--column_map.id", "null", "--selection.min_margin", "0.1"]
    recipe = load_recipe("quickstart", overrides)
    settings, _ = shrunk_settings(recipe, model=tmp_path, data=tmp_path, output=tmp_path)
    assert {"dataset_format", "column_map", "selection"} <= set(recipe.resolved) - set(settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_without_files_becomes_a_small_model_of_its_kind(tmp_path, family):
    name = next(name for name, value in KNOWN.items() if value == family and not name.startswith("bundled:"))
    facts = build_miniature(ModelArguments(model_name_or_path=name), ["some words"] * 20, tmp_path)
    assert any(f"of the family {family}, because {name} is not here" in fact for fact in facts)
    config, tokenizer = AutoConfig.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert type(config).__name__ == FAMILIES[family].config
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (2, 64, len(tokenizer))
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Why?"}], tokenize=False)
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_an_unknown_model_is_said_to_be_replaced(tmp_path):
    facts = build_miniature(ModelArguments(model_name_or_path="someone/something"), ["words"], tmp_path)
    assert any("a Llama stands in for it" in fact for fact in facts)


def test_a_model_on_this_machine_is_shrunk_from_its_own_files(tmp_path):
    big = gemma2_config(500, num_hidden_layers=6, hidden_size=96, num_key_value_heads=4, final_logit_softcapping=17.0)
    big.save_pretrained(tmp_path / "big")
    gemma_tokenizer().save_pretrained(tmp_path / "big")
    facts = build_miniature(ModelArguments(model_name_or_path=str(tmp_path / "big")), [], tmp_path / "small")
    assert facts[:2] == [f"tokenizer of {tmp_path / 'big'}", f"architecture Gemma2Config of {tmp_path / 'big'}"]
    small = AutoConfig.from_pretrained(tmp_path / "small")
    assert (small.final_logit_softcapping, small.tie_word_embeddings) == (17.0, True)
    assert small.layer_types == ["sliding_attention", "full_attention"]
    assert small.num_key_value_heads == small.num_attention_heads == 4


def test_grouped_queries_stay_grouped():
    config = LlamaConfig(num_attention_heads=32, num_key_value_heads=8, rope_parameters={"rope_type": "default"})
    assert shrink(config, gemma_tokenizer()).num_key_value_heads == 2


@pytest.fixture
def offline(monkeypatch):
    """As scripts/rehearse.py makes it, which sets the variable before these modules read it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("kind", sorted({method.data for method in METHODS.values()}))
def test_data_that_is_not_here_is_made_up_in_its_form(tmp_path, offline, kind):
    rows = rehearsal_rows(DataArguments(dataset_name="someone/pairs"), kind=kind)
    assert (len(rows.train), len(rows.test)) == (24, 6)
    assert "made up" in rows.origin
    assert set(rows.train[0]) == ({"messages"} if kind == "conversation" else {"prompt", "chosen", "rejected"})
    assert all(texts_of(rows))


def test_local_data_is_used_and_its_faults_are_told(tmp_path):
    write_jsonl(tmp_path / "pairs.jsonl", preference_rows(30))
    data = DataArguments(dataset_name=str(tmp_path / "pairs.jsonl"))
    rows = rehearsal_rows(data, kind="preference")
    assert rows.origin == "24 of the shortest rows of the recipe's own data"
    spoilt = preference_rows(30)
    spoilt[3]["chosen"] = spoilt[3]["rejected"]
    write_jsonl(tmp_path / "pairs.jsonl", spoilt)
    with pytest.raises(DataError):
        rehearsal_rows(dataclasses.replace(data, dataset_revision=None), kind="preference")


def test_the_shortest_rows_keep_their_order():
    rows = [{"prompt": "x" * length} for length in (9, 2, 7, 1, 5)]
    assert shortest(rows, 3) == [rows[1], rows[3], rows[4]]
