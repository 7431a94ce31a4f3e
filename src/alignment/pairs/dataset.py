"""The pairs as Parquet files of two splits, of which no prompt is in both."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.errors import DataError, Fault
from alignment.pairs.records import writing
from alignment.pairs.select import Scored

if TYPE_CHECKING:
    import pyarrow as pa

DATA = "data"
COLUMNS = ("prompt_id", "prompt", "all_generated_responses", "all_rm_scores", "chosen", "rejected")
_ROWS_AT_ONCE = 500


def file_of(folder: Path, split: str) -> Path:
    """Where the rows of a split lie."""
    return folder / DATA / f"{split}-00000-of-00001.parquet"


def test_prompts(with_pairs: list[str], size: int | float | None, seed: int) -> set[str]:
    """Which of the prompts with pairs are the test split: those whose digests with `seed` are the least.

    Raises:
        DataError: one of the splits would have none.
    """
    if size is None:
        return set()
    count = int(size) if size >= 1 else max(1, int(len(with_pairs) * size))
    if count >= len(with_pairs):
        rule = f"takes {count} prompts for the test split, and {len(with_pairs)} have pairs"
        raise DataError(Fault(key="test_size", value=size, rule=rule, remedy="lower it, or take more prompts"))
    drawn = sorted(with_pairs, key=lambda id: hashlib.sha256(f"{seed}/{id}".encode()).digest())
    return set(drawn[:count])


def write_splits(folder: Path, prompts: Iterable[Scored], *, test: set[str], as_text: bool) -> dict[str, int]:
    """Write the pairs of the prompts, in their order; what was there before is replaced once all of it is written.

    Args:
        test: ids of the prompts of the test split.
        as_text: whether a prompt is written as a question, rather than as a list of messages.

    Returns:
        split -> rows.
    """
    import pyarrow.parquet as pq

    names = ["train", "test"] if test else ["train"]
    final = {name: file_of(folder, name) for name in names}
    partial = {name: path.with_name(f".{path.name}.partial") for name, path in final.items()}
    rows = dict.fromkeys(names, 0)
    schema = schema_of(as_text=as_text)
    with writing(folder), ExitStack() as stack:
        (folder / DATA).mkdir(parents=True, exist_ok=True)
        writers = {name: stack.enter_context(pq.ParquetWriter(path, schema)) for name, path in partial.items()}
        for name, table in _tables(prompts, test, schema, as_text):
            writers[name].write_table(table)
            rows[name] += len(table)
    with writing(folder):
        for name in names:
            os.replace(partial[name], final[name])
        if not test:
            file_of(folder, "test").unlink(missing_ok=True)
    return rows


def schema_of(*, as_text: bool) -> pa.Schema:
    """The types of the columns."""
    from datasets import Features, List, Value

    text = Value("string")
    messages = List({"role": text, "content": text})
    kinds = (text, text if as_text else messages, List(text), List(Value("float64")), messages, messages)
    return Features(dict(zip(COLUMNS, kinds, strict=True))).arrow_schema


def _tables(
    prompts: Iterable[Scored], test: set[str], schema: pa.Schema, as_text: bool
) -> Iterator[tuple[str, pa.Table]]:
    """Split and rows, some hundred at a time."""
    import pyarrow as pa

    waiting: dict[str, list[dict[str, Any]]] = {}
    for scored in prompts:
        split = "test" if scored.prompt.id in test else "train"
        rows = waiting.setdefault(split, [])
        rows.extend(_rows(scored, as_text))
        if len(rows) >= _ROWS_AT_ONCE:
            yield split, pa.Table.from_pylist(waiting.pop(split), schema=schema)
    for split, rows in waiting.items():
        yield split, pa.Table.from_pylist(rows, schema=schema)


def _rows(scored: Scored, as_text: bool) -> Iterator[dict[str, Any]]:
    messages = list(scored.prompt.messages)
    for chosen, rejected in scored.selection.pairs:
        sides = [[*messages, {"role": "assistant", "content": scored.texts[at]}] for at in (chosen, rejected)]
        prompt = scored.prompt.text if as_text else messages
        values = (scored.prompt.id, prompt, list(scored.texts), list(scored.scores), *sides)
        yield dict(zip(COLUMNS, values, strict=True))
