"""Rules between the keys that say what is trained and evaluated on."""

from __future__ import annotations

from collections.abc import Iterator

from alignment.errors import Fault
from alignment.methods import METHODS
from alignment.recipe.cleaning import cleaning_faults
from alignment.recipe.dataset_formats import CONVERSATION_FORMATS, PREFERENCE_FORMATS, SCORED_FORMATS
from alignment.recipe.selection import SelectionSettings
from alignment.recipe.settings import Settings

_IN_MIXTURE = {
    "dataset_config": "config in each of dataset_mixture.datasets",
    "dataset_revision": "revision in each of dataset_mixture.datasets",
    "dataset_train_split": "split in each of dataset_mixture.datasets",
    "dataset_test_split": "dataset_mixture.test_split_size",
}


def _source(s: Settings) -> Iterator[Fault]:
    if not s.sound("dataset_name", "dataset_mixture"):
        return
    name, mixture = s["dataset_name"], s["dataset_mixture"]
    if name is None and mixture is None:
        yield Fault(
            key="dataset_name",
            rule="must be stated, unless dataset_mixture is",
            remedy="give a Hub id, or a local JSON, JSONL or Parquet file or folder",
        )
    if name is not None and mixture is not None:
        yield Fault(
            key="dataset_name",
            value=name,
            rule="contradicts dataset_mixture",
            remedy="keep one of the two; `dataset_mixture: null` drops an inherited mixture",
        )
    elif mixture is not None:
        for key, instead in _IN_MIXTURE.items():
            if s.sound(key) and s.changed(key):
                yield Fault(key=key, value=s[key], rule="belongs to dataset_name", remedy=f"remove it; write {instead}")


def _mixture(s: Settings) -> Iterator[Fault]:
    mixture = s["dataset_mixture"]
    if mixture is None or not s.sound("dataset_mixture"):
        return
    sources = mixture["datasets"]
    if not sources:
        yield Fault(key="dataset_mixture.datasets", rule="must list at least one data set", remedy="give its id")
    size = mixture.get("test_split_size")
    if size is not None and (size <= 0 or (size >= 1 and size != int(size))):
        yield Fault(
            key="dataset_mixture.test_split_size",
            value=size,
            rule="must be a share of the rows between 0 and 1, or a whole number of rows",
            remedy="such as 0.05 or 500",
        )
    if s.method is None:
        return
    for at, source in enumerate(sources):
        columns = source.get("columns")
        sides = [column for column in ("chosen", "rejected") if column in (columns or ())]
        if len(sides) == 1 and not source.get("column_map") and METHODS[s.method].data == "preference":
            missing = "rejected" if sides == ["chosen"] else "chosen"
            yield Fault(
                key=f"dataset_mixture.datasets[{at}].columns",
                value=columns,
                rule=f"must keep {missing}, which {s.method} trains on",
                remedy="add it, or remove columns to keep all",
            )


def _format(s: Settings) -> Iterator[Fault]:
    """A format of conversations has no preference in it."""
    stated = {"dataset_format": s["dataset_format"]} if s.sound("dataset_format") else {}
    if s.sound("dataset_mixture") and s["dataset_mixture"] is not None:
        for at, source in enumerate(s["dataset_mixture"]["datasets"]):
            stated[f"dataset_mixture.datasets[{at}].dataset_format"] = source.get("dataset_format")
    for key, given in stated.items():
        if given in CONVERSATION_FORMATS and s.method is not None and METHODS[s.method].data == "preference":
            yield Fault(
                key=key,
                value=given,
                rule=f"is a format of conversations, and {s.method} trains on preferences",
                remedy=f"write one of {', '.join(PREFERENCE_FORMATS)}, or method: sft",
            )


def _selection(s: Settings) -> Iterator[Fault]:
    if not s.sound("selection") or s["selection"] is None:
        return
    yield from SelectionSettings(**s["selection"]).faults()
    given = s["dataset_format"]
    if s["dataset_mixture"] is None and s.sound("dataset_format") and given not in ("auto", *SCORED_FORMATS):
        yield Fault(
            key="selection",
            rule=f"has no effect on dataset_format {given}, whose rows are pairs already",
            remedy=f"remove it; it is for {' and '.join(SCORED_FORMATS)}",
        )


def _evaluation(s: Settings) -> Iterator[Fault]:
    strategy = s.strategy("eval_strategy")
    wanted = strategy != "no" or (s.sound("do_eval") and s["do_eval"])
    if strategy != "no" and s.stated.get("do_eval") is False:
        yield Fault(
            key="do_eval", value=False, rule=f"contradicts eval_strategy {strategy}", remedy="remove one of the two"
        )
    if not wanted:
        return
    asked = f"eval_strategy {strategy}" if strategy != "no" else "do_eval: true"
    mixture = s["dataset_mixture"]
    if s.sound("dataset_mixture") and mixture is not None and mixture.get("test_split_size") is None:
        yield Fault(
            key="dataset_mixture.test_split_size",
            rule=f"must be stated, since {asked} needs test data",
            remedy="such as 0.05 or 500, or write eval_strategy: no",
        )
    if mixture is None and "dataset_test_split" in s.stated and s["dataset_test_split"] is None:
        yield Fault(
            key="dataset_test_split",
            value="null",
            rule=f"must name a split, since {asked} needs test data",
            remedy="such as test, or write eval_strategy: no",
        )
    split = s.stated.get("dataset_test_split") or "test"
    if mixture is None and s.sound("dataset_test_split", "dataset_train_split") and split == s["dataset_train_split"]:
        yield Fault(
            key="dataset_test_split",
            value=split,
            rule="must not be the split that is trained on",
            remedy="name another, or cut one in two: train[:95%] and train[95%:]",
        )


def _cleaning(s: Settings) -> Iterator[Fault]:
    if not s.sound("decontaminate", "deduplicate", "dataset_mixture", "eval_strategy", "do_eval"):
        return
    mixture, evaluated = s["dataset_mixture"], s.strategy("eval_strategy") != "no" or bool(s["do_eval"])
    has_test = evaluated if mixture is None else mixture.get("test_split_size") is not None
    yield from cleaning_faults(s["decontaminate"], s["deduplicate"], has_test=has_test)


DATA_RULES = (_source, _mixture, _format, _selection, _evaluation, _cleaning)
