"""Part of a split: `train[:95%]`, `test[10:20]`, `train[-500:]`, as the `datasets` library writes it."""

from __future__ import annotations

import re

from alignment.errors import DataError, Fault

_SLICED = re.compile(r"(?P<split>[^\[\]+]+)\[(?P<slice>[^\[\]]*)\]")


def split_name(spec: str) -> str:
    """The split that `spec` is, or is a part of.

    Raises:
        DataError: `spec` is no split and no slice of one.
    """
    sliced = _SLICED.fullmatch(spec)
    if sliced is None and re.search(r"[\[\]+]", spec):
        raise _malformed(spec)
    return sliced["split"] if sliced else spec


def slice_of(spec: str, rows: int) -> range:
    """Which of a split's `rows` belong to `spec`; percentages are rounded to whole rows as `datasets` does.

    Raises:
        DataError: no slice of these rows, or one without a row.
    """
    import datasets

    name = split_name(spec)
    if name == spec:
        return range(rows)
    try:
        # The library knows split names of word characters alone, and files may be named otherwise.
        instruction = datasets.ReadInstruction.from_spec(spec.replace(name, "split", 1))
        part = instruction.to_absolute({"split": rows})[0]
    except (AssertionError, ValueError) as error:
        raise _malformed(spec) from error
    taken = range(part.from_ or 0, rows if part.to is None else part.to)
    if rows and not taken:
        rule = f"holds none of the {rows} rows of {name}"
        raise DataError(Fault(key=f"split {spec}", rule=rule, remedy="widen the slice"))
    return taken


def _malformed(spec: str) -> DataError:
    rule = "is no split, and no slice of one such as train[:95%] or train[-500:]"
    return DataError(Fault(key=f"split {spec}", rule=rule, remedy="several splits are several datasets of a mixture"))
