"""Files of prompts, and the file of their answers: every row, once, whatever happens."""

from __future__ import annotations

import contextlib
import gzip
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from alignment.errors import DataError, SetupError
from alignment.generation.answer_file import BASE, TAKEN, AnswerFile
from alignment.generation.answer_prompts import qualities
from alignment.generation.answers import Answer
from alignment.generation.prompt_file import count_prompts, read_prompts


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def user(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def test_rows_of_every_kind(tmp_path):
    turns = [*user("Hello"), {"role": "assistant", "content": "Hi"}, *user("Why?")]
    rows = [
        {"prompt": "Why?", "id": 7},
        {"messages": turns},
        {"prompt": user("How?")},
        {"prompt": json.dumps(user("So?"))},
    ]
    lines = "\n\n".join(map(json.dumps, rows))
    path = write(tmp_path / "prompts.jsonl", lines)
    assert count_prompts(path, taken=TAKEN) == 4
    read = list(read_prompts(path))
    assert [row.messages for row in read] == [user("Why?"), turns, user("How?"), user("So?")]
    assert [row.number for row in read] == [0, 1, 2, 3] and read[0].row == rows[0]
    assert count_prompts(write(tmp_path / "prompts.jsonl.gz", gzip.compress(lines.encode()))) == 4
    assert count_prompts(write(tmp_path / "prompts.json", json.dumps(rows))) == 4
    assert count_prompts(write(tmp_path / "prompts.csv", "prompt,kind\nWhy?,a\n")) == 1


def test_text_has_a_prompt_a_line(tmp_path):
    path = write(tmp_path / "prompts.txt", '\ufeffWhy?\r\n\n  How {"prompt": 1}? \nWarum größer?')
    assert [row.messages[0]["content"] for row in read_prompts(path)] == ["Why?", 'How {"prompt": 1}?', "Warum größer?"]


BAD = [
    ('{"prompt": 5}', "not a list of messages: prompt is a number"),
    ('{"prompt": "  "}', "empty prompt"),
    ('{"question": "Why?"}', "not one of prompt and messages: it has the columns question"),
    (
        '{"prompt": "a", "messages": [{"role": "user", "content": "b"}]}',
        "not one of prompt and messages: it has prompt and messages",
    ),
    ('{"messages": [{"role": "assistant", "content": "b"}]}', "answered already: messages ends with the assistant"),
    ('{"messages": []}', "empty list of messages"),
    ('{"messages": [{"role": "user"}]}', "message without content"),
    ('{"prompt": "\\ud800"}', "not valid Unicode"),
    ('{"prompt": "a", "answer": "b"}', "column that the answers are written to: answer; rename it"),
    ("[1]", "not a JSON object"),
    ("{", "malformed JSON"),
]


def test_every_bad_row_is_named_at_once(tmp_path):
    path = write(tmp_path / "bad.jsonl", "\n".join(['{"prompt": "Good?"}', *(line for line, _ in BAD)]))
    with pytest.raises(DataError) as error:
        count_prompts(path, taken=TAKEN)
    assert len(error.value.faults) == len(BAD)
    for number, ((_, told), fault) in enumerate(zip(BAD, error.value.faults, strict=True), start=2):
        assert fault.key == f"bad.jsonl line {number}" and f"cannot be asked: {told}" in str(fault)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.jsonl", "\n \n", "has no prompt; give rows such as"),
        ("empty.txt", "", "has no prompt"),
        ("prompts.md", "Why?", "is no file of prompts by its name; name it .txt, .json"),
        ("prompts.txt", b"\xff\xfe", "not valid UTF-8"),
        ("prompts.jsonl", b"PK\x03\x04", "is a zip archive"),
    ],
)
def test_files_of_something_else(tmp_path, name, content, told):
    with pytest.raises(DataError, match=told.replace("(", r"\(")):
        count_prompts(write(tmp_path / name, content))


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(DataError, match="does not exist, or is no file"):
            count_prompts(path)


def answer(text: str) -> Answer:
    return Answer(text=text, finished=True, tokens=2)


def test_answers_are_sorted_and_merged_in_the_end(tmp_path):
    path = tmp_path / "answers.jsonl"
    answers = AnswerFile(path, {"model": "m"})
    for row in (2, 0, 1):
        answers.add(row, answer(f"now {row}"), beside={"prompt": f"p{row}", "odd": "\ud800"})
    assert [json.loads(line)["row"] for line in path.read_text().splitlines()] == [2, 0, 1], "written at once"
    for row in (1, 0, 2):
        answers.add(row, answer(f"then {row}"), beside={"prompt": f"p{row}"}, prefix=BASE)
    answers.finish()
    answers.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["row"] for row in rows] == [0, 1, 2]
    assert rows[1] == {
        "row": 1, "prompt": "p1", "odd": "\ud800", "answer": "now 1", "finished": True, "tokens": 2,
        "base_answer": "then 1", "base_finished": True, "base_tokens": 2,
    }  # fmt: skip
    again = AnswerFile(path, {"model": "m"})
    assert all(again.has(row, prefix) for row in range(3) for prefix in ("", BASE)) and not again.has(3)


def test_a_line_that_a_kill_cut_is_drawn_again(tmp_path):
    path = tmp_path / "answers.jsonl"
    first = AnswerFile(path, {"model": "m"})
    for row in range(3):
        first.add(row, answer("so"), beside={})
    first.close()
    path.write_bytes(path.read_bytes()[:-9])
    second = AnswerFile(path, {"model": "m"})
    assert [second.has(row) for row in range(3)] == [True, True, False]
    second.add(2, answer("so"), beside={})
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 3


def test_other_settings_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, {"model": "m", "temperature": 0.0}).close()
    with pytest.raises(SetupError, match=r"temperature 0.7 was 0.0 when the answers were begun"):
        AnswerFile(path, {"model": "m", "temperature": 0.7})
    AnswerFile(path, {"model": "m", "temperature": 0.0, "base_model": "b"}).close()
    with pytest.raises(SetupError, match="base_model c was b"):
        AnswerFile(path, {"base_model": "c"})
    (tmp_path / "answers.settings.json").write_text("[")
    with pytest.raises(SetupError, match=r"answers.settings.json is damaged"):
        AnswerFile(path, {"model": "m"})
    foreign = write(tmp_path / "notes.jsonl", "mine\n")
    with pytest.raises(SetupError, match="exists, and was not written by this command"):
        AnswerFile(foreign, {})
    assert foreign.read_text() == "mine\n"


def test_two_processes_do_not_write_one_file(tmp_path):
    path = tmp_path / "answers.jsonl"
    held = AnswerFile(path, {"model": "m"})
    program = f"from alignment.generation.answer_file import *; AnswerFile(Path({str(path)!r}), {{'model': 'm'}})"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "is being written by another process" in other.stderr
    held.close()


def test_a_full_disk_is_told_and_loses_nothing(tmp_path):
    path = tmp_path / "answers.jsonl"
    first = AnswerFile(path, {})
    first.add(0, answer("so"), beside={})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
    try:
        with pytest.raises(SetupError, match="cannot be written: File too large; make room or choose another OUTPUT"):
            first.add(1, answer("so"), beside={})
        with contextlib.suppress(OSError):
            first.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    second = AnswerFile(path, {})
    assert second.has(0) and not second.has(1)
    second.add(1, answer("so"), beside={})
    assert [json.loads(line)["row"] for line in path.read_text().splitlines()] == [0, 1]


def test_the_quality_of_both_models(tmp_path):
    answers = AnswerFile(tmp_path / "answers.jsonl", {})
    for row in range(4):
        answers.add(row, answer("" if row else "It is so."), beside={"prompt": "Why?"})
        answers.add(row, answer("It is so."), beside={"prompt": "Why?"}, prefix=BASE)
    found = qualities(answers)
    assert (found[""].empty, found[BASE].empty, found[BASE].answers) == (0.75, 0, 4)
