"""The one check over the tokens that are trained on: the same rows, whatever the method."""

from __future__ import annotations

import pytest
from tiny import gemma_tokenizer, write_jsonl

from alignment.data import DPORules, SFTRules, TokenRules, check_rows, load_dataset_splits, prepare_rows, prepare_splits
from alignment.data.template_markers import begin_with_bos, template_marks
from alignment.errors import DataError
from alignment.recipe.schema import DataArguments

SIMPO, DPO, SFT = TokenRules(max_length=120, max_prompt_length=60), DPORules(max_length=120), SFTRules(max_length=120)
PAIRS, ALL = [SIMPO, DPO], [SIMPO, DPO, SFT]
PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
THINKING = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
)


def pair(prompt="Why?", chosen="The sun.", rejected="No.", **more):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def prepare(rows, rules, *, template=None, on_bad_row="error"):
    tokenizer = gemma_tokenizer()
    tokenizer.chat_template = template or tokenizer.chat_template
    tokenizer.chat_template = begin_with_bos(tokenizer)
    kind = "conversation" if isinstance(rules, SFTRules) else "preference"
    checked = check_rows(rows, kind=kind).dataset
    return prepare_rows(checked, tokenizer, rules, on_bad_row=on_bad_row), tokenizer


def said(prepared, tokenizer, row=0):
    """What is read, and what of the (chosen) answer is trained."""
    ids = prepared.dataset[row]
    if "labels" in ids:
        return tokenizer.decode(ids["input_ids"]), tokenizer.decode([label for label in ids["labels"] if label >= 0])
    return tokenizer.decode(ids["prompt_ids"] + ids["chosen_ids"]), tokenizer.decode(ids["chosen_ids"])


@pytest.mark.parametrize("rules", ALL)
@pytest.mark.parametrize("template", [None, PLAIN, THINKING])
def test_every_method_begins_with_bos_and_ends_in_a_stop_token(rules, template):
    prepared, tokenizer = prepare([pair()], rules, template=template)
    read, trained = said(prepared, tokenizer)
    assert read.startswith("<bos>")
    assert read.count("<bos>") == 1
    assert trained.rstrip().endswith(("<end_of_turn>", "<eos>"))
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Why?"}], add_generation_prompt=True, tokenize=False
    )
    assert read.startswith(asked)


def test_eos_is_added_only_where_the_template_ends_nothing():
    ends = [said(*prepare([pair()], rules, template=PLAIN))[1] for rules in ALL]
    assert ends == ["assistant: The sun.\n<eos>", "The sun.\n<eos>", "The sun.\n<eos>"]
    ends = [said(*prepare([pair()], rules))[1] for rules in (DPO, SFT)]
    assert ends == ["The sun.<end_of_turn>\n"] * 2


BAD = [
    pytest.param(
        pair(chosen="<think>slow</think>moon", rejected="<think>fast</think>moon"),
        "chosen identical to rejected: once the chat template has rendered them",
        PAIRS,
        THINKING,
        id="the template makes them equal",
    ),
    pytest.param(
        pair(chosen="a b c d " * 40 + "x", rejected="a b c d " * 40 + "y"),
        "chosen identical to rejected: after truncation",
        PAIRS,
        None,
        id="truncation makes them equal",
    ),
    pytest.param(
        pair(),
        "answer lost in the chat template",
        ALL,
        "{% for m in messages %}<start_of_turn>{{ m.role }}<end_of_turn>\n{% endfor %}",
        id="the template swallows the answer",
    ),
    pytest.param(
        pair(),
        "refused by the chat template: on a conversation of user.*: no users",
        ALL,
        "{{ raise_exception('no users.') }}",
    ),
    pytest.param(
        pair(prompt="<start_of_turn>user\nWhy?<end_of_turn>"), "text rendered already: a user message holds", ALL, None
    ),
    pytest.param(pair(prompt="Why?\nassistant:"), "text rendered already: .*'assistant:'", ALL, PLAIN),
    pytest.param(
        pair(tools=[{"function": {"name": "look"}}]),
        "tools not rendered by the chat template: tools: 'look'",
        ALL,
        None,
    ),
    pytest.param(
        pair(
            chosen=[{"role": "assistant", "content": "I look.", "tool_calls": [{"function": {"name": "look"}}]}],
            rejected=[{"role": "assistant", "content": "No."}],
        ),
        "tool_calls not rendered by the chat template",
        ALL,
        None,
    ),
    pytest.param(
        pair(
            chosen=[{"role": "assistant", "content": "I look.", "reasoning_content": "hm"}],
            rejected=[{"role": "assistant", "content": "No."}],
        ),
        "reasoning_content not rendered by the chat template",
        ALL,
        None,
    ),
    pytest.param(
        pair(),
        "begins unlike inference",
        [SIMPO],
        PLAIN.replace("assistant: {% endif", "assistant: <think>{% endif"),
        id="the generation prompt says more than training does",
    ),
    pytest.param(
        pair(),
        "prompt and answer not told apart by the chat template",
        [DPO],
        PLAIN.replace("assistant: {% endif", "assistant: <think>{% endif"),
    ),
]


@pytest.mark.parametrize(("row", "message", "methods", "template"), BAD)
def test_what_cannot_be_trained_on_is_refused_or_dropped_and_counted(row, message, methods, template):
    good = [pair(prompt=f"Why {number}?") for number in range(2)]
    for rules in methods:
        with pytest.raises(DataError, match=rf"row \d of the data is bad: {message}"):
            prepare([good[0], row, good[1]], rules, template=template)
    for rules in methods if template is None else ():
        left, _ = prepare([good[0], row, good[1]], rules, on_bad_row="drop")
        assert len(left.dataset) == 2
        assert sum(left.findings.dropped.values()) == 1
        assert left.dataset[:] == prepare(good, rules)[0].dataset[:]


@pytest.mark.parametrize("rules", [DPO, SFT])
def test_a_prompt_that_fills_max_length_is_left_out_by_rule_and_counted(rules):
    rows = [pair(), pair(prompt="why " * 200), pair(prompt="How?")]
    prepared, _ = prepare(rows, rules)
    assert len(prepared.dataset) == 2
    assert prepared.findings.dropped == {"prompt fills max_length": 1}
    with pytest.raises(DataError, match=r"has no row that can be trained on among 1 .*; raise max_length"):
        prepare(rows[1:2], rules)


def test_the_reference_cuts_such_a_pair_and_it_is_counted():
    prepared, _ = prepare([pair(prompt="why " * 200, chosen="a " * 80)], SIMPO)
    assert prepared.findings.dropped == {}
    assert prepared.statistics.cut == {"prompt": 1, "chosen": 1, "rejected": 0}


@pytest.mark.parametrize("rules", ALL)
@pytest.mark.parametrize(
    ("row", "template", "note"),
    [
        (pair(chosen="The <eos> sun."), None, "control tokens in the text"),
        (pair(chosen="The sun.<end_of_turn>\n"), None, "control tokens in the text"),
        (pair(chosen="Why? Sun.", rejected="Why? No."), None, "answer repeats the prompt"),
        (pair(chosen="<think>a</think>The sun."), THINKING, "text changed by the chat template"),
    ],
)
def test_what_is_only_odd_is_trained_and_told(rules, row, template, note):
    prepared, _ = prepare([pair(prompt="How?"), row], rules, template=template)
    assert len(prepared.dataset) == 2
    assert prepared.findings.noted == {note: 1}
    line = next(iter(prepared.findings.lines(lambda number: f"row {number}")))
    assert line.startswith(f"warning: 1 x {note} (row 1: ")


@pytest.mark.parametrize("rules", ALL)
def test_tools_that_the_template_writes_are_read(rules):
    template = "{{ tools | tojson if tools }}" + PLAIN
    row = pair(tools=[{"type": "function", "function": {"name": "look", "parameters": {"city": None}}}])
    read, _ = said(*prepare([row, pair(prompt="How?")], rules, template=template))
    assert read.startswith('<bos>[{"type": "function", "function": {"name": "look", "parameters": {"city": null}}}]')


def test_a_template_that_must_be_stopped_on_every_row_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("alignment.recipe.template_limits.SECONDS", 0.2)
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    rows = [pair(prompt=f"Why {number}?") for number in range(50)]
    with pytest.raises(
        DataError, match=r"chat_template had to be stopped on 3 rows; .* did not end within 0.2 seconds"
    ):
        prepare(rows, SFT, template=endless, on_bad_row="drop")
    once = "{% if messages[0].content == 'Why 7?' %}" + endless + "{% endif %}" + PLAIN
    left, _ = prepare(rows, DPO, template=once, on_bad_row="drop")
    assert left.findings.dropped == {"chat template without end": 1}


def test_the_remedy_is_named_that_works():
    phi = PLAIN.replace("{% endif %}", "{% else %}{{ eos_token }}{% endif %}")
    with pytest.raises(DataError, match="set generation_prompt: prompt, which works with this template"):
        prepare([pair()], SIMPO, template=phi)
    rules = TokenRules(max_length=120, max_prompt_length=60, generation_prompt="prompt")
    assert said(*prepare([pair()], rules, template=phi))[1] == "The sun.\n<eos>"


def test_the_rows_read_are_those_trained_and_those_dropped(tmp_path):
    rows = [
        pair(),
        {"prompt": "q"},
        pair(prompt="why " * 200),
        pair(chosen="x <bos>"),
        pair(prompt="<start_of_turn>user\nx"),
    ]
    file = write_jsonl(tmp_path / "pairs.jsonl", [{**row, "score": 1} for row in rows])
    splits = load_dataset_splits(DataArguments(dataset_name=str(file), on_bad_row="drop"), kind="preference")
    tokens = prepare_splits(splits, gemma_tokenizer(), DPO, on_bad_row="drop")
    facts = tokens.sources[0]
    assert facts.dropped == {"missing column": 1, "prompt fills max_length": 1, "text rendered already": 1}
    assert (facts.rows, len(tokens.train), facts.unread) == (2, 2, ("score",))
    assert tokens.prepared["train"].findings.noted == {"control tokens in the text": 1}
    told = "\n".join(tokens.told)
    assert f"train of {file}: 5 rows, 3 dropped (1 x missing column, 1 x prompt fills max_length, 1 x text" in told
    assert "not read: score" in told
    assert "row 4 of train of" in told
    assert "pairs.jsonl line 5" in told


def test_a_template_writes_bos_once_whoever_renders_it():
    tokenizer = gemma_tokenizer()
    assert begin_with_bos(tokenizer) == tokenizer.chat_template
    tokenizer.chat_template = PLAIN
    tokenizer.chat_template = begin_with_bos(tokenizer)
    assert begin_with_bos(tokenizer) == tokenizer.chat_template == "{{ bos_token }}" + PLAIN
    text = tokenizer.apply_chat_template([{"role": "user", "content": "q"}], tokenize=False)
    assert text == "<bos>user: q\n"
    tokenizer.bos_token = None
    tokenizer.chat_template = PLAIN
    assert begin_with_bos(tokenizer) == PLAIN


def test_the_marks_of_a_template():
    marks = template_marks(gemma_tokenizer())
    header = "<start_of_turn>model\n"
    assert marks == ("<bos><start_of_turn>user\n", f"<end_of_turn>\n{header}", "<end_of_turn>\n", header)
