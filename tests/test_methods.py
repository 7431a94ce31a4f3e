"""The table of methods: what a row says is true of its classes, and nobody else knows the names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import alignment
from alignment.bound import Bound
from alignment.methods import METHODS
from alignment.recipe.fields import fields_of
from alignment.recipe.relations import relation_faults
from alignment.recipe.settings import Settings
from alignment.trainers.reference_free import ReferenceFreeTrainer
from alignment.trainers.reporting import ReportingTrainer

SOURCES = sorted(Path(alignment.__file__).parent.rglob("*.py"))


def compared_texts(source: Path) -> Iterator[str]:
    """Texts that anything in a module is compared with."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Compare):
            for part in node.comparators:
                yield from (leaf.value for leaf in ast.walk(part) if isinstance(leaf, ast.Constant))


def test_no_module_asks_for_a_method_by_its_name():
    # What converts foreign recipes reads names of methods in the words of others.
    ours = [source for source in SOURCES if source.parent.name != "convert"]
    named = {source.name: set(compared_texts(source)) & set(METHODS) for source in ours}
    assert {name: methods for name, methods in named.items() if methods} == {}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_row_tells_of_its_classes(name):
    method, declared = METHODS[name], fields_of(name)
    assert method.name == name
    trainer = method.trainer_class()
    assert issubclass(trainer, ReportingTrainer)
    assert issubclass(trainer, ReferenceFreeTrainer) == method.plans_steps
    for key in (*method.bounds, *method.words, *method.symbols):
        assert key.removesuffix("[]") in declared.types
    for key, bound in method.bounds.items():
        default = declared.defaults.get(key)
        assert isinstance(bound, Bound) and (default is None or bound.holds(default))
    assert list(relation_faults(Settings(name, {"dataset_name": "some/data"}, set()))) == []
