"""The rows of a rehearsal: the recipe's own when they are on this machine, else made up in their form."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alignment.data import load_dataset_splits
from alignment.data.files import find_local
from alignment.data.form import Kind
from alignment.data.messages import unpack
from alignment.data.turns import TEXT
from alignment.errors import UserError
from alignment.recipe import DataArguments

TRAIN, TEST, CANDIDATES = 24, 6, 400
"""Rows that are trained and evaluated on, and among how many the shortest are looked for."""

WORDS = (
    "the a river stone tree light answer question morning city garden small large warm cold quiet early never always "
    "goes stands shines turns falls grows keeps under over near beside because although when while and but so then"
).split()


class Rows(NamedTuple):
    """Two splits and where they came from."""

    train: list[dict[str, Any]]
    test: list[dict[str, Any]]
    origin: str


def rehearsal_rows(data: DataArguments, *, kind: Kind) -> Rows:
    """A handful of short rows.

    Raises:
        DataError: local data of the recipe cannot be used; data of the Hub that is not here is made up instead.
    """
    local = is_local(data)
    try:
        splits = load_dataset_splits(data, kind=kind)
    except UserError:
        if local:
            raise
        rows = [made_up(number, kind) for number in range(TRAIN + TEST)]
        return Rows(rows[:TRAIN], rows[TRAIN:], "rows made up in the recipe's form, because its data is not here")
    train = [_as_stored(row) for row in shortest(splits.train, TRAIN)]
    test = train[:TEST] if splits.test is None else [_as_stored(row) for row in shortest(splits.test, TEST)]
    return Rows(train, test, f"{len(train)} of the shortest rows of the recipe's own data")


def is_local(data: DataArguments) -> bool:
    """Whether every source is a file or folder of this machine."""
    ids = [source.id for source in data.dataset_mixture.datasets] if data.dataset_mixture else [data.dataset_name]
    return all(find_local(str(name)) is not None for name in ids)


def shortest(dataset: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """The rows of the first `CANDIDATES` with the fewest characters, in their order."""
    candidates = [dict(dataset[number]) for number in range(min(CANDIDATES, len(dataset)))]
    lengths = [len(json.dumps(row)) for row in candidates]
    chosen = sorted(sorted(range(len(candidates)), key=lengths.__getitem__)[:count])
    return [candidates[number] for number in chosen]


def _as_stored(row: Mapping[str, Any]) -> dict[str, Any]:
    """A checked row as a file holds it."""
    tools = {"tools": row["tools"]} if row["tools"] else {}
    if "messages" not in row:
        return {**{side: unpack(row[side]) for side in ("prompt", "chosen", "rejected")}, **tools}
    messages, first = unpack(row["messages"]), row["first_trained"]
    if messages[0]["role"] == TEXT:
        return {"text": messages[0]["content"]}
    return {
        **({"prompt": messages[:first], "completion": messages[first:]} if first else {"messages": messages}),
        **tools,
    }


def made_up(number: int, kind: Kind) -> dict[str, Any]:
    """A row of nonsense: a conversation, or a conversation and a worse answer."""
    rng = random.Random(number)
    user = {"role": "user", "content": f"{_sentence(rng)} {number}?"}
    answers = [{"role": "assistant", "content": f"{_sentence(rng)} {side}."} for side in ("first", "second")]
    if kind == "conversation":
        return {"messages": [user, answers[0]]}
    return {"prompt": user["content"], "chosen": [user, answers[0]], "rejected": [user, answers[1]]}


def write_rows(rows: Rows, folder: Path) -> DataArguments:
    """The rows as files, and the data section that reads them."""
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in getattr(rows, split))
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return dataclasses.replace(DataArguments(dataset_name=str(folder)), dataset_test_split="test")


def texts_of(rows: Rows) -> list[str]:
    """Everything that is said in the rows."""
    return [message for row in (*rows.train, *rows.test) for value in row.values() for message in _contents(value)]


def _contents(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(message["content"]) for message in value or ()]


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 18))).capitalize()
