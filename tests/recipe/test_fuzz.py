"""Both readers of what people write, recipes with overrides and rows, under random input: nothing but our own errors.

`ALIGNMENT_FUZZ=20000 pytest tests/recipe/test_fuzz.py` tries more examples, with other seeds each time.
"""

from __future__ import annotations

import json
import os
import string

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alignment.errors import UserError
from alignment.methods import METHODS
from alignment.recipe import load_recipe
from alignment.recipe.frozen import thaw
from alignment.recipe.schema import DataArguments, ModelArguments
from alignment.recipe.settings import default_values
from alignment.recipe.types import hints

MORE = os.environ.get("ALIGNMENT_FUZZ")
fuzz = settings(
    max_examples=int(MORE or 150),
    derandomize=MORE is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
GOOD = {
    "method": "simpo",
    "model_name_or_path": "google/gemma-2-9b-it",
    "dataset_name": "princeton-nlp/gemma2-ultrafeedback-armorm",
    "learning_rate": 8e-7,
    "global_batch_size": 128,
    "output_dir": "outputs/fuzz",
}
KEYS = sorted(
    {key for method in METHODS for key in default_values(method)} | {*hints(ModelArguments), *hints(DataArguments)}
)
WORDS = [
    "no",
    "yes",
    "null",
    "~",
    "auto",
    "all",
    "steps",
    "epoch",
    "best",
    "1e-6",
    "-1",
    "010",
    "0x1",
    "1_0",
    ".inf",
    "{",
]
text = st.text(max_size=30) | st.sampled_from(WORDS) | st.text(string.punctuation + string.digits, max_size=8)
scalar = st.none() | st.booleans() | st.integers() | st.floats() | text
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
key = st.sampled_from([*KEYS, "dataset_mixture", "sample_evaluation", "extends"]) | text
near = st.sampled_from([0, 1, -1, 2, 0.5, True, False, None, "steps", "no", [], {}, [0], 2**31, 1e-9])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "recipe.yaml"


def settled(path, overrides=()) -> dict | None:
    """What a recipe says, or `None` when it is refused in our own words."""
    try:
        return thaw(load_recipe(path, overrides).resolved)
    except UserError as error:
        str(error).encode("utf-8")
        return None


def reread(path, resolved: dict) -> None:
    """What was accepted, written down as it was understood, is accepted and understood in the same way."""
    path.write_text(yaml.safe_dump(resolved, allow_unicode=True), encoding="utf-8")
    assert settled(path) == resolved


@fuzz
@given(
    changes=st.dictionaries(key, near | value, max_size=4),
    dropped=st.sets(st.sampled_from([*GOOD]), max_size=1),
    method=st.sampled_from([*METHODS]),
)
def test_a_changed_recipe(file, changes, dropped, method):
    stated = {**{name: item for name, item in GOOD.items() if name not in dropped}, "method": method, **changes}
    file.write_bytes(yaml.safe_dump(stated, allow_unicode=True).encode("utf-8", "surrogatepass"))
    resolved = settled(file)
    if resolved is not None:
        reread(file, resolved)


@fuzz
@given(written=st.text(string.printable, max_size=120) | st.binary(max_size=60))
def test_any_text_in_the_place_of_a_recipe(file, written):
    start = "".join(f"{name}: {json.dumps(item)}\n" for name, item in GOOD.items())
    file.write_bytes(start.encode() + (written if isinstance(written, bytes) else written.encode()))
    settled(file)


@fuzz
@given(
    words=st.lists(
        st.builds(lambda name, rest: f"--{name}{rest}", key, st.sampled_from(["", "=", "=1", ".", "[0]", "[0].id=x"]))
        | text
        | st.builds(json.dumps, near | value),
        max_size=6,
    )
)
def test_any_words_on_the_command_line(file, words):
    file.write_text(yaml.safe_dump(GOOD))
    resolved = settled(file, words)
    if resolved is not None:
        reread(file, resolved)
