"""Rows of random JSON, through the check and the tokens of every method: nothing but our own errors.

`ALIGNMENT_FUZZ=20000` tries more examples, with other seeds each time.
"""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import gemma_tokenizer

from alignment.data import DPORules, SFTRules, TokenRules, load_dataset_splits, prepare_rows
from alignment.data.formats import FORMATS
from alignment.data.formats.reader import BESIDE
from alignment.data.formats.unread import MEANT
from alignment.errors import UserError
from alignment.recipe.schema import DataArguments

MORE = os.environ.get("ALIGNMENT_FUZZ")
fuzz = settings(
    max_examples=int(MORE or 40),
    derandomize=MORE is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
RULES = {
    "simpo": TokenRules(max_length=64, max_prompt_length=32),
    "dpo": DPORules(max_length=64),
    "sft": SFTRules(max_length=64),
}
scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)


def nested(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)


value = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | value, "content": st.text(max_size=20) | value},
    optional={"tool_calls": value, "name": value, "reasoning_content": value},
)
turns = st.text(max_size=20) | st.lists(message | value, max_size=4) | value
COLUMNS = sorted({*(column for each in FORMATS.values() for column in each.columns), *MEANT, *BESIDE, "label"})
row = st.dictionaries(st.sampled_from(COLUMNS) | st.text(max_size=6), turns, max_size=5)
shaped = st.sampled_from(list(FORMATS.values())).flatmap(
    lambda each: st.fixed_dictionaries({group[0]: turns for group in each.needs}, optional={"system": turns})
)
good = st.fixed_dictionaries({"prompt": st.just("Why?"), "chosen": turns, "rejected": turns, "messages": turns})


@pytest.fixture(scope="module")
def tokenizer():
    return gemma_tokenizer()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "rows.jsonl"


@pytest.mark.parametrize("method", [*RULES])
@pytest.mark.parametrize("on_bad_row", ["error", "drop"])
@fuzz
@given(rows=st.lists(row | good | shaped | value, min_size=1, max_size=4))
def test_random_rows(tokenizer, file, method, on_bad_row, rows):
    kind = "conversation" if method == "sft" else "preference"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    try:
        loaded = load_dataset_splits(DataArguments(dataset_name=str(file), on_bad_row=on_bad_row), kind=kind).train
        prepared = prepare_rows(loaded, tokenizer, RULES[method], on_bad_row=on_bad_row)
    except UserError as error:
        str(error).encode("utf-8")
        return
    assert 0 < len(prepared.dataset) <= len(loaded) <= len(rows)
