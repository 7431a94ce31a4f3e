"""`alignment chat` and `alignment generate` in processes of their own: pipes, interrupts, kills, adapters, mistakes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tiny import preference_rows, save_gemma2, write_jsonl

from alignment.cli.app import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "alignment.cli"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    """A recipe, its base model, and what it was trained to (another seed of the same model)."""
    folder = tmp_path_factory.mktemp("parts")
    save_gemma2(folder / "base")
    save_gemma2(folder / "trained", seed=1)
    write_jsonl(folder / "pairs.jsonl", preference_rows(4))
    recipe = {
        "method": "simpo",
        "model_name_or_path": str(folder / "base"),
        "dataset_name": str(folder / "pairs.jsonl"),
        "output_dir": str(folder / "trained"),
        "global_batch_size": 2,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "untrained.yaml").write_text(yaml.safe_dump({**recipe, "output_dir": str(folder / "nowhere")}))
    return folder


def ask(capsys: pytest.CaptureFixture[str], parts: Path, *words: str) -> str:
    """What `alignment generate` prints; it must succeed."""
    with pytest.raises(SystemExit) as end:
        main("generate", [str(parts / "recipe.yaml"), *words])
    said = capsys.readouterr()
    assert end.value.code == 0, said.err
    return said.out


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.slow
def test_a_chat_through_a_pipe_whose_interrupt_stops_the_answer_and_not_the_chat(parts):
    command = [*COMMAND, "chat", str(parts / "recipe.yaml"), "--max_new_tokens", "490", "--temperature", "100"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        # A shell's background jobs, and what they start, ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as chat:
        assert chat.stdin and chat.stdout and chat.stderr
        chat.stdin.write("Why?\n")
        assert chat.stdout.read(3)  # it is being answered
        chat.send_signal(signal.SIGINT)
        while "(stopped)" not in (line := chat.stderr.readline()):
            assert line, "the chat is over"
        rest, notes = chat.communicate("/rset\n/reset\nHow far?\n/exit\nNever asked.\n", timeout=120)
    assert chat.returncode == 0 and "Traceback" not in notes
    assert "/rset is no command" in notes and "(nothing was said)" in notes
    assert rest.endswith("\n")


@pytest.mark.slow
def test_a_file_of_prompts_killed_half_way_is_answered_once_each(parts, tmp_path, capsys):
    prompts = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": f"Why {at}?", "kind": at} for at in range(1200)])
    output = tmp_path / "out" / "answers.jsonl"
    words = ["--prompts", str(prompts), "--output", str(output), "--max_new_tokens", "3", "--temperature", "1"]
    with subprocess.Popen(
        [*COMMAND, "generate", str(parts / "recipe.yaml"), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as first:
        while not (output.exists() and output.stat().st_size > 2000):
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
    kept = output.read_text("utf-8").splitlines()[:-1]
    assert 0 < len(kept) < 1200
    told = ask(capsys, parts, *words)
    rows = rows_of(output)
    assert [row["row"] for row in rows] == list(range(1200))
    assert [row["prompt"] for row in rows] == [f"Why {at}?" for at in range(1200)]
    assert {json.dumps(row, ensure_ascii=False) for row in rows} >= set(kept), "what was there is not drawn again"
    assert "answers to 1200 prompts" in told and "unfinished" in told
    ask(capsys, parts, *words)
    assert rows_of(output) == rows
    with pytest.raises(SystemExit) as end:
        main("generate", [str(parts / "recipe.yaml"), *words, "--seed", "4"])
    assert end.value.code == 2 and "seeds [4] was [0] when the answers were begun" in capsys.readouterr().err


def test_both_models_side_by_side(parts, tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("Why?\nHow?\n")
    prompts, words = ["--prompts", str(tmp_path / "prompts.txt")], ["--max_new_tokens", "4"]
    ask(capsys, parts, *prompts, *words)
    ask(capsys, parts, *prompts, *words, "--compare")  # adds the base's answers
    rows = rows_of(tmp_path / "prompts.answers.jsonl")
    assert [row["prompt"] for row in rows] == ["Why?", "How?"]
    trained, base = (
        ask(capsys, parts, "--prompt", "Why?", *words, "--model", str(parts / name)).strip()
        for name in ("trained", "base")
    )
    assert (rows[0]["answer"], rows[0]["base_answer"]) == (trained, base) and trained != base
    shown = ask(capsys, parts, "--prompt", "Why?", *words, "--compare")
    assert "base" in shown and "trained" in shown


def test_adapters_answer_with_their_base(parts, tmp_path, capsys):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(parts / "base")
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / "merged" / name).write_bytes((parts / "base" / name).read_bytes())
    adapter, merged, plain = (
        ask(capsys, parts, "--prompt", "Why?", "--max_new_tokens", "6", "--model", str(model))
        for model in (tmp_path / "adapter", tmp_path / "merged", parts / "base")
    )
    assert adapter == merged != plain


MISTAKES = [
    (["chat", "untrained.yaml"], "holds no trained model; run `make train"),
    (["generate", "untrained.yaml", "--prompt", "Why?"], "holds no trained model"),
    (["generate", "recipe.yaml"], "prompt is empty; give one"),
    (["generate", "recipe.yaml", "--prompt", " "], "prompt is empty; give one"),
    (["generate", "recipe.yaml", "--prompt", "a", "--prompts", "b.txt"], "prompt and prompts are both given"),
    (["generate", "recipe.yaml", "--prompt", "a", "--output", "b"], "output is for the answers to a file"),
    (["generate", "recipe.yaml", "--prompts", "none.jsonl"], "none.jsonl does not exist"),
    (["generate", "recipe.yaml", "--prompts", "empty.jsonl"], "empty.jsonl has no prompt"),
    (["generate", "recipe.yaml", "--prompts", "bad.jsonl"], "bad.jsonl line 2 cannot be asked"),
    (["generate", "recipe.yaml", "--prompt", "a", "--engine", "vlm"], "engine vlm must be one of"),
    (["generate", "recipe.yaml", "--prompt", "a", "--engine", "vllm"], "engine vllm is not installed"),
    (["generate", "recipe.yaml", "--prompt", "a", "--temperature", "1e9"], "temperature 1000000000.0 must be 0"),
    (["generate", "recipe.yaml", "--prompt", "a", "--max_new_tokens", "0"], "max_new_tokens 0 must be at least 1"),
    (["generate", "recipe.yaml", "--prompt", "a", "--base_url", "http://127.0.0.1:1/v1"], "cannot be reached"),
    (["generate", "recipe.yaml", "--prompt", "a", "--compare", "--base_url", "http://h/v1"], "asks two models"),
    (["generate", "recipe.yaml", "--prompt", "a", "--model", "untemplated"], "chat_template is needed"),
    (["generate", "recipe.yaml", "--prompt", "a", "--model", "lost"], "base_model_name_or_path"),
    (["chat", "recipe.yaml", "--top_p", "0"], "top_p 0.0 must be above 0"),
    (["chat", "recipe.yaml", "--model", "no-such-model"], "no-such-model is no model"),
]


@pytest.mark.parametrize(("words", "told"), MISTAKES)
def test_a_mistake_is_one_message(parts, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "Why?"}\n{"promt": "Why?"}\n')
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost/adapter_config.json").write_text("{}")
    if "untemplated" in words:
        save_gemma2(tmp_path / "untemplated")
        (tmp_path / "untemplated/chat_template.jinja").unlink()
    command, recipe, *options = words
    with pytest.raises(SystemExit) as end:
        main(command, [str(parts / recipe), *options])
    said = capsys.readouterr().err
    assert end.value.code == 2 and told in said and "Traceback" not in said, said
