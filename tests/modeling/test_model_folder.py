"""Folders that are no whole model: told with folder, file, reason and remedy, and never trained from."""

from __future__ import annotations

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import gemma2, save_gemma2
from tokenizers import AddedToken
from transformers import AutoTokenizer

from alignment.errors import SetupError
from alignment.modeling.load import load_policy, load_tokenizer, tokenizer_revision
from alignment.recipe import ModelArguments

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path):
    return save_gemma2(tmp_path / "model")


def refusal(folder, **arguments) -> str:
    model = ModelArguments(model_name_or_path=str(folder), **arguments)
    with pytest.raises(SetupError) as caught:
        load_tokenizer(model)
        load_policy(model)
    return str(caught.value)


def restate(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def restore(folder, change):
    """Save the tensors of `folder` again after `change`."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def shard(folder, **index):
    """Two shards, and an index of which some entries are others."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    files = {name: f"model-0000{1 + (name > names[10])}-of-00002.safetensors" for name in names}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in names if files[name] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files, **index}))


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (PAGE, "is a web page, not the file itself"),
        (LFS, "is a pointer of Git LFS, not the file itself"),
        (b"[]", "must hold an object with names and values, and holds a list"),
        (b'{"a": [1,', "is no JSON"),
        (b"\xff\xfe{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_file_that_holds_something_else_is_named(folder, name, content, told):
    (folder / name).write_bytes(content)
    assert f"{folder / name} {told}" in refusal(folder)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hidden_size": "64"}, "Field 'hidden_size' expected int, got str"),
        ({"model_type": "nonsense"}, "model type `nonsense`"),
        ({"num_key_value_heads": 0}, "ZeroDivisionError"),
        ({"intermediate_size": -1}, "negative dimension"),
        ({"hidden_activation": "nonsense"}, "'nonsense'"),
        ({"intermediate_size": 127}, "model.layers.0.mlp.down_proj.weight is (64, 128), asked for is (64, 127)"),
        (
            {"num_hidden_layers": 10**7, "layer_types": None},
            "10000000 is more layers than the folder holds tensors (24)",
        ),
        ({"num_hidden_layers": 3, "layer_types": None}, "lacks 11 tensors that its config.json asks for"),
        ({"num_hidden_layers": 1, "layer_types": None}, "holds 11 tensors that its config.json knows nothing of"),
    ],
)
def test_impossible_configurations_are_told(folder, values, told):
    restate(folder / "config.json", **values)
    message = refusal(folder)
    assert told in message
    assert str(folder) in message


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty"), (PAGE, "is a web page"), (LFS, "is a pointer of Git LFS"), (b"\0" * 100, "cannot be read")],
)
def test_weights_that_are_something_else_are_named(folder, content, told):
    (folder / WEIGHTS).write_bytes(content)
    assert f"{folder / WEIGHTS} {told}" in refusal(folder)


def test_weights_that_were_cut_short_are_named(folder):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-100])
    assert f"{folder / WEIGHTS} cannot be read" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.pop(UP), f"which would be trained from random numbers: {UP}"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "that would be lost: extra"),
        (lambda tensors: tensors.update({UP: torch.zeros(3, 3)}), f"{UP} is (3, 3), asked for is (128, 64)"),
        (lambda tensors: tensors.clear(), "holds no tensors"),
        (lambda tensors: tensors.update({UP: torch.zeros(128, 64, dtype=torch.int8)}), f"such as {UP} (I8)"),
        (
            lambda tensors: tensors.update({"lm_head.weight": torch.randn(400, 64)}),
            "ties output to input embeddings (tie_word_embeddings), but its files hold two different matrices",
        ),
    ],
)
def test_tensors_that_are_not_those_of_the_configuration_are_named(folder, change, told):
    restore(folder, change)
    assert told in refusal(folder)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ({"weight_map": {}}, "has no weight_map"),
        ({"weight_map": []}, "has no weight_map"),
        ({"weight_map": {"a": 3}}, "must map every tensor to a file of the same folder"),
        ({"weight_map": {"a": "../elsewhere.safetensors"}}, "must map every tensor to a file of the same folder"),
        ({"weight_map": {"a": "absent.safetensors"}}, "absent.safetensors is missing"),
        ({"metadata": None}, "has no metadata"),
    ],
)
def test_an_index_that_leads_nowhere_is_named(folder, index, told):
    shard(folder, **index)
    assert told in refusal(folder)


def test_shards_with_their_index_load(folder):
    before = load_policy(ModelArguments(model_name_or_path=str(folder))).state_dict()
    shard(folder)
    after = load_policy(ModelArguments(model_name_or_path=str(folder))).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_folder_without_weights_says_what_it_holds(folder):
    (folder / WEIGHTS).rename(folder / "weights.safetensors")
    message = refusal(folder)
    assert f"{folder} holds no weights" in message
    assert "weights.safetensors" in message


class Trap:
    def __reduce__(self):
        return os.system, ("touch sprung",)


def test_a_pickle_that_runs_code_is_refused_unread(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert str(folder) in refusal(folder)
    assert not (folder / "sprung").exists()


def test_an_adapter_is_no_model(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere"}')
    assert "whose base model would be loaded from elsewhere" in refusal(folder)


def test_no_tokenizer_is_made_up(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert f"{folder} holds no tokenizer" in refusal(folder)


@pytest.mark.parametrize("special", [True, False])
def test_a_tokenizer_larger_than_the_embedding_names_its_first_token_too_many(folder, special):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken("<think>", special=special), AddedToken("</think>", special=special)])
    tokenizer.save_pretrained(folder)
    assert (
        "has token ids up to 401, and the model's embedding has 400 rows: '<think>' is 400; use the tokenizer of "
        "the model, or resize the model's embeddings"
    ) in refusal(folder)


def test_a_mark_of_images_beyond_a_text_models_embedding_is_no_fault(folder):
    """Gemma-3's text models share the tokenizer of those that see; its image mark has no row there."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken("<image>", special=True)])
    tokenizer.save_pretrained(folder)
    restate(folder / "tokenizer_config.json", image_token="<image>")
    assert len(load_tokenizer(ModelArguments(model_name_or_path=str(folder)))) == 401


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("tokenizer_config.json", {"eos_token": None}, "names no eos_token, so no answer could end"),
        ("tokenizer_config.json", {"eos_token": 3}, "Special token eos_token has to be either str or AddedToken"),
        ("tokenizer_config.json", {"tokenizer_class": None}, "states no tokenizer_class"),
        ("tokenizer_config.json", {"model_max_length": "x"}, "tokenizer_config.json or tokenizer.json cannot be used"),
        ("tokenizer.json", {"model": {"type": "BPE"}}, "Missing vocab/merges"),
        (
            "tokenizer.json",
            {"model": {"type": "BPE", "vocab": {}, "merges": []}},
            "turns a plain sentence into no tokens",
        ),
        ("generation_config.json", {"eos_token_id": "x"}, "x must be a token id below 400"),
        ("generation_config.json", {"eos_token_id": [1, 400]}, "[1, 400] must be a token id below 400"),
        ("generation_config.json", {"pad_token_id": [0]}, "[0] must be a token id"),
        ("generation_config.json", {"temperature": "warm"}, "warm must be a number of 0 or more"),
        ("generation_config.json", {"do_sample": "yes"}, "yes must be true or false"),
    ],
)
def test_settings_of_the_wrong_type_are_told(folder, name, values, told):
    restate(folder / name, **values)
    assert told in refusal(folder)


def test_a_pinned_revision_is_the_models_own(folder):
    def pinned(tokenizer):
        return ModelArguments(model_name_or_path="a/b", tokenizer_name_or_path=tokenizer, model_revision="0123abc")

    assert tokenizer_revision(pinned(None)) == "0123abc"
    assert tokenizer_revision(pinned("a/b")) == "0123abc"
    assert tokenizer_revision(pinned("c/d")) == "main"


def test_what_is_loaded_is_what_was_saved(folder):
    policy = load_policy(ModelArguments(model_name_or_path=str(folder)))
    expected = gemma2(400).state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in policy.state_dict().items())
