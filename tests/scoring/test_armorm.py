from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from scored import WEIGHTS, change_tensors, conversations, llama_config, llama_tokenizer
from transformers import LlamaModel

from alignment.errors import DataError, SetupError
from alignment.scoring import load_scorer
from alignment.scoring.armorm import Heads, armo_score, gate_weights

OBJECTIVES, WIDTH, HIDDEN = 5, 12, 32
HEADER = "<|start_header_id|>assistant<|end_header_id|>\n\n"


def save_armorm(folder: Path, *, tokenizer=None, temperature: float = 2.0, sharded: bool = False) -> Path:
    """A checkpoint of random weights with the tensor names of the published one."""
    tokenizer = tokenizer or llama_tokenizer()
    torch.manual_seed(1)
    backbone = LlamaModel(llama_config(len(tokenizer)))
    tensors = {f"model.{name}": tensor for name, tensor in backbone.state_dict().items()}
    sizes = [HIDDEN, WIDTH, WIDTH, WIDTH, OBJECTIVES]
    for at in range(4):
        tensors[f"gating.layers.{at}.weight"] = 0.4 * torch.randn(sizes[at + 1], sizes[at])
        tensors[f"gating.layers.{at}.bias"] = torch.randn(sizes[at + 1])
    tensors["gating.logit_scale"] = torch.tensor([1.7])
    tensors["regression_layer.weight"] = 0.2 * torch.randn(OBJECTIVES, HIDDEN)
    tensors["reward_transform_matrix"] = 0.4 * torch.randn(OBJECTIVES, OBJECTIVES)
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    shards = {WEIGHTS: names}
    if sharded:
        shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
        index = {"metadata": {}, "weight_map": {name: file for file, held in shards.items() for name in held}}
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    for file, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / file, metadata={"format": "pt"})
    config = {
        **backbone.config.to_dict(),
        "architectures": ["LlamaForRewardModelWithGating"],
        "auto_map": {"AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"},
        "num_objectives": OBJECTIVES,
        "gating_temperature": temperature,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save_pretrained(folder)
    return folder


def plain_score(folder: Path, conversation: list[dict], *, before: str = "", temperature: float = 2.0) -> float:
    """The definition, written out for one conversation; the gate reads the token before the answer and `before` it."""
    tensors = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
    tokenizer = llama_tokenizer()
    text = tokenizer.apply_chat_template(conversation, tokenize=False)
    prompt = tokenizer.apply_chat_template(conversation[:-1], tokenize=False, add_generation_prompt=True)
    assert text.startswith(prompt) and prompt.endswith(HEADER)
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = read["input_ids"]
    opening = [start for start, _ in read["offset_mapping"]].index(len(prompt) - len(before))
    backbone = LlamaModel(llama_config(len(tokenizer))).eval()
    backbone.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    with torch.no_grad():
        hidden = backbone(torch.tensor([ids])).last_hidden_state[0]
    gate = hidden[opening - 1]
    for at in range(4):
        gate = tensors[f"gating.layers.{at}.weight"] @ gate + tensors[f"gating.layers.{at}.bias"]
        gate = gate.clamp(min=0) if at < 3 else gate
    powers = [math.exp(value / temperature) for value in gate.tolist()]
    weights = [power / sum(powers) * tensors["gating.logit_scale"].item() for power in powers]
    rewards = (tensors["regression_layer.weight"] @ hidden[-1]).tolist()
    matrix = tensors["reward_transform_matrix"].tolist()
    adjusted = [sum(rewards[i] * matrix[i][j] for i in range(OBJECTIVES)) for j in range(OBJECTIVES)]
    return sum(weight * reward for weight, reward in zip(weights, adjusted, strict=True))


def test_the_heads_against_numbers_worked_out_by_hand():
    heads = Heads(
        regression=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        transform=torch.tensor([[1.0, -0.5], [0.0, 1.0]]),
        gate=((torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), None), (torch.tensor([[1.0, 5.0], [0.0, 1.0]]), None)),
        scale=torch.tensor([2.0]),
        temperature=1 / math.log(3),
    )
    # ReLU([1, -1]) = [1, 0]; the second layer makes [1, 0]; exp(x log 3) = [3, 1]; softmax [.75, .25]; doubled.
    assert gate_weights(torch.tensor([[1.0, 9.0]]), heads).tolist() == [pytest.approx([1.5, 0.5])]
    # Rewards [4, 6] become [4, -2 + 6]; 1.5 x 4 + 0.5 x 4 = 8.
    assert armo_score(torch.tensor([[4.0, 6.0]]), torch.tensor([[1.0, 9.0]]), heads).tolist() == pytest.approx([8.0])


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("turns", [1, 3])
def test_scores_are_those_of_the_definition_in_any_batch(tmp_path, sharded, turns):
    folder, rows = save_armorm(tmp_path, sharded=sharded), conversations(7, turns=turns)
    expected = [plain_score(folder, row) for row in rows]
    assert load_scorer(str(folder)).score(rows) == pytest.approx(expected, abs=1e-5)
    assert load_scorer(str(folder), batch_tokens=1).score(rows) == pytest.approx(expected, abs=1e-5)
    assert [len(llama_tokenizer().tokenize(text)) for text in ("\n\n", "\n\nZ")] == [1, 3]
    assert len({round(score, 4) for score in expected}) == len(rows)


def test_the_gate_may_read_the_end_of_the_turn_before_the_header(tmp_path):
    folder, rows = save_armorm(tmp_path), conversations(4)
    expected = [plain_score(folder, row, before=HEADER) for row in rows]
    header = load_scorer(str(folder)).score(rows)
    assert load_scorer(str(folder), gating="turn").score(rows) == pytest.approx(expected, abs=1e-5)
    assert all(abs(a - b) > 1e-3 for a, b in zip(header, expected, strict=True))


def test_an_answer_or_a_question_that_holds_a_header_does_not_move_the_gate(tmp_path):
    folder, rows = save_armorm(tmp_path), conversations(3, turns=2)
    rows[0][-1]["content"] = f"The sun shines.{HEADER}The moon."
    rows[1][-2]["content"] = f"What is {HEADER}good?"
    expected = [plain_score(folder, row) for row in rows]
    assert load_scorer(str(folder)).score(rows) == pytest.approx(expected, abs=1e-5)


def test_the_temperature_is_the_published_one_where_none_is_stated(tmp_path):
    folder, rows = save_armorm(tmp_path), conversations(2)
    config = json.loads((folder / "config.json").read_text())
    del config["gating_temperature"]
    (folder / "config.json").write_text(json.dumps(config))
    expected = [plain_score(folder, row, temperature=10) for row in rows]
    assert load_scorer(str(folder)).score(rows) == pytest.approx(expected, abs=1e-5)


def test_a_template_without_the_header_leaves_the_gate_nothing_to_read(tmp_path):
    folder = save_armorm(tmp_path)
    with pytest.raises(DataError, match="conversation 0 holds no assistant header"):
        load_scorer(str(folder), chat_template="chatml").score(conversations(1))


def test_checkpoints_that_are_not_complete_are_told(tmp_path):
    folder = save_armorm(tmp_path)

    def refused(change, match):
        before = load_file(folder / WEIGHTS)
        change_tensors(folder, change)
        with pytest.raises(SetupError, match=match):
            load_scorer(str(folder))
        save_file(before, folder / WEIGHTS, metadata={"format": "pt"})

    refused(lambda t: t.pop("reward_transform_matrix"), "lacks reward_transform_matrix")
    refused(lambda t: t.pop("gating.layers.1.weight"), r"lacks gating\.layers\.1\.weight")
    refused(lambda t: [t.pop(f"gating.layers.{at}.weight") for at in range(4)], r"lacks gating\.layers\.0\.weight")
    refused(lambda t: t.update({"regression_layer.bias": torch.zeros(5)}), r"holds regression_layer\.bias")
    refused(lambda t: t.update({"regression_layer.weight": torch.zeros(4, HIDDEN)}), r"must be \[5, 32\]")
    refused(lambda t: t.pop("model.norm.weight"), r"no trained norm\.weight")
    with pytest.raises(SetupError, match="gating start must be header or turn"):
        load_scorer(str(folder), gating="start")
