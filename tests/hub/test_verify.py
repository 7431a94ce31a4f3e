"""What makes a folder unfit to be published: each fault alone, found and named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alignment.errors import SetupError
from alignment.publish.plan import plan_publication, stale_files
from alignment.publish.verify import verify_folder


def check(folder: Path, *, reload: bool = False) -> None:
    verify_folder(folder, plan_publication(folder, repository="me/x"), reload=reload)


def test_a_finished_run_is_fit_and_answers(run_folder: Path):
    check(run_folder, reload=True)


def change_weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return spoil


def change_json(name: str, **values: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **values}))

    return spoil


def append(name: str, text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_text((path.read_text() if path.exists() else "") + text)

    return spoil


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def split_without_second(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    first = {name: weights[name] for name in sorted(weights)[:5]}
    save_file(first, folder / "model-00001-of-00002.safetensors")
    weight_map = dict.fromkeys(weights, "model-00002-of-00002.safetensors")
    weight_map |= dict.fromkeys(first, "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "model.safetensors").unlink()


def tie_twice(weights: dict[str, torch.Tensor]) -> None:
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()


def to_bfloat16(weights: dict[str, torch.Tensor]) -> None:
    weights.update({name: weight.bfloat16() for name, weight in weights.items()})


def one_infinity(weights: dict[str, torch.Tensor]) -> None:
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = float("inf")


def reshape(weights: dict[str, torch.Tensor]) -> None:
    weights["model.norm.weight"] = weights["model.norm.weight"][:-1].clone()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(truncate, "model.safetensors is truncated", id="truncated"),
        pytest.param(
            split_without_second, "should be in model-00002-of-00002.safetensors and is not", id="shard missing"
        ),
        pytest.param(
            change_weights(lambda weights: weights.pop("model.norm.weight")),
            r"lacks 1 of \d+ weights, such as model.norm.weight",
            id="weight missing",
        ),
        pytest.param(
            change_weights(lambda weights: weights.update({"model.lora_A": torch.ones(2)})),
            "1 weights that config.json knows nothing of, such as model.lora_A",
            id="weight unknown",
        ),
        pytest.param(
            change_weights(tie_twice), "lm_head.weight in model.safetensors is stored although", id="tied twice"
        ),
        pytest.param(
            change_weights(reshape), r"model.norm.weight in .* \(63,\) must have the shape \(64,\)", id="shape"
        ),
        pytest.param(
            change_weights(one_infinity), "up_proj.weight in model.safetensors holds NaN or inf", id="not finite"
        ),
        pytest.param(change_weights(to_bfloat16), "weights bfloat16 must be float32", id="precision"),
        pytest.param(
            change_json("config.json", dtype="float16"), "dtype in config.json float16 must be", id="dtype stated"
        ),
        pytest.param(
            change_json("generation_config.json", eos_token_id=1), r"\[1\] must hold 5 \(<end_of_turn>\)", id="stop ids"
        ),
        pytest.param(append("chat_template.jinja", "{# new #}"), "chat_template is not the one", id="other template"),
        pytest.param(lambda folder: (folder / "chat_template.jinja").unlink(), "nobody can talk", id="no template"),
        pytest.param(lambda folder: (folder / "config.json").unlink(), "config.json is missing", id="no config"),
        pytest.param(
            change_json("config.json", vocab_size=200), "more tokens than the model has rows", id="vocabulary"
        ),
        pytest.param(
            append("README.md", "\nexport HF_TOKEN=hf_" + "aB3" * 12),
            r"README.md holds a Hugging Face token in line \d+",
            id="token",
        ),
        pytest.param(append("LICENSE", ""), None, id="nothing wrong: a license"),
        pytest.param(
            append("eval_results.json", '{"wandb_api_key": "' + "0123456789abcdef" * 2 + '01234567"}'),
            "eval_results.json holds a wandb key in line 1",
            id="wandb key",
        ),
        pytest.param(
            append("README.md", "\nweights from /home/ann/models/gemma/"),
            "/home/ann/models/gemma/ is a path",
            id="path",
        ),
        pytest.param(append("README.md", "\nhttps://host.org/tmp/home/x"), None, id="nothing wrong: a URL"),
    ],
)
def test_each_fault_is_named(run_folder: Path, spoil: Callable[[Path], None], message: str | None):
    spoil(run_folder)
    if message is None:
        check(run_folder)
        return
    with pytest.raises(SetupError, match=message) as caught:
        check(run_folder)
    assert "nothing was sent" in str(caught.value)


def test_all_faults_are_told_together(run_folder: Path):
    change_weights(one_infinity)(run_folder)
    change_json("generation_config.json", eos_token_id=1)(run_folder)
    append("README.md", "/Users/ann/x/y")(run_folder)
    with pytest.raises(SetupError) as caught:
        check(run_folder)
    assert len(caught.value.faults) == 3


def test_the_token_of_this_session_is_found_whatever_it_looks_like(run_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "local-made-up-key-17")
    append("all_results.json", " ")(run_folder)
    append("README.md", "local-made-up-key-17")(run_folder)
    with pytest.raises(SetupError, match="holds the value of WANDB_API_KEY") as caught:
        check(run_folder)
    assert "local-made-up" not in str(caught.value)


def test_only_known_names_are_planned_and_only_stale_weights_are_removed(run_folder: Path):
    for name in ("optimizer.pt", "training_args.bin", "recipe.json", ".lock", "rng_state.pth", "notes.txt", "a.yaml"):
        (run_folder / name).write_bytes(b"x")
    (run_folder / "checkpoint-20").mkdir()
    (run_folder / "adapter").mkdir()
    plan = plan_publication(run_folder, repository="me/x")
    assert {"optimizer.pt", "training_args.bin", "checkpoint-20/", "adapter/", "notes.txt"} <= set(plan.left_out)
    assert not {file.name for file in plan.files} & set(plan.left_out)
    remote = dict.fromkeys(
        ["README.md", "model-00001-of-00004.safetensors", "adapter_config.json", "LICENSE", "my.txt"]
    )
    assert stale_files(remote, plan) == ["adapter_config.json", "model-00001-of-00004.safetensors"]


def test_digests_are_those_of_git_and_of_large_files(run_folder: Path):
    # `printf 'hello\n' | git hash-object --stdin` and `| sha256sum`
    (run_folder / "LICENSE").write_text("hello\n")
    file = plan_publication(run_folder, repository="me/x").named("LICENSE")
    assert file.git_oid == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert file.sha256 == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert re.fullmatch(r"\d+", str(file.size)) and file.size == 6
