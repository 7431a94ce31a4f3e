"""Rows in one Arrow file, written as they come and mapped into memory to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset, Features

_FILE = "rows.arrow"


def write_rows(folder: Path, features: Features, rows: Dataset | Iterable[Mapping[str, list[Any]]]) -> None:
    """Write the rows of a data set, or batches of them as Python columns."""
    import pyarrow as pa
    from datasets import Dataset

    schema = features.arrow_schema
    if isinstance(rows, Dataset):
        tables = (table.select(schema.names).cast(schema) for table in rows.with_format("arrow").iter(1000))
    else:
        tables = (pa.Table.from_pydict(dict(batch), schema=schema) for batch in rows)
    with pa.OSFile(str(folder / _FILE), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for table in tables:
            writer.write_table(table)


def open_rows(folder: Path) -> Dataset:
    """What `write_rows` wrote."""
    from datasets import Dataset

    return Dataset.from_file(str(folder / _FILE))
