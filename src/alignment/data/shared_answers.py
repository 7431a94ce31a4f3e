"""Pairs of one prompt as one row: the prompt once, and every answer once however many pairs it is in.

The pairs stay pairs: each has its loss, as if it stood alone, and a step's loss is the mean over its pairs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignment.data.padded_batches import joined

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 1000
"""Rows that are written at a time."""


def share_answers(pairs: Dataset) -> Dataset:
    """Tokenized pairs `{prompt_ids, chosen_ids, rejected_ids}` to one row for pairs that follow each other with the
    same prompt:

        prompt_ids  token ids
        answer_ids  a list of token ids for each distinct answer, in the order in which pairs first have them
        pairs       `[chosen, rejected]` of each pair, as places in `answer_ids`
        rows        the row of each pair in the data set
    """
    from datasets import Features, List, Value

    from alignment.data.arrow import open_rows, write_rows
    from alignment.data.disk_cache import passing_folder

    ids = List(Value("int32"))
    features = Features({"prompt_ids": ids, "answer_ids": List(ids), "pairs": List(ids), "rows": List(Value("int64"))})
    folder = Path(tempfile.mkdtemp(dir=passing_folder()))
    write_rows(folder, features, _columns(shared_rows(pairs)))
    return open_rows(folder)


def shared_rows(pairs: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of `share_answers`."""
    for prompt, group in groupby(enumerate(pairs), key=lambda entry: entry[1]["prompt_ids"]):
        places: dict[tuple[int, ...], int] = {}
        found, rows = [], []
        for row, pair in group:
            sides = (tuple(pair["chosen_ids"]), tuple(pair["rejected_ids"]))
            found.append([places.setdefault(side, len(places)) for side in sides])
            rows.append(row)
        yield {"prompt_ids": prompt, "answer_ids": [list(ids) for ids in places], "pairs": found, "rows": rows}


class SharedAnswersCollator:
    """Rows of `share_answers` to one packed row.

    A prompt `[5, 6]` with the answers `[7, 8]`, `[9]` and `[3]`, of which the first is better than both others, gives

        input_ids        [[5, 6, 7, 8, 9, 3]]
        position_ids     [[0, 1, 2, 3, 2, 2]]

        predictor_index  [1, 2, 1, 1]            the last prompt token predicts the first token of every answer
        targets          [7, 8, 9, 3]
        target_rows      [0, 0, 1, 2]            answers, in the order of the row
        pair_answers     [0, 0, 1, 2]            answers of the pairs: all chosen ones, then all rejected ones
        weight, index    [1.0, 1.0], [row, row]  one entry a pair
        pair_lengths     [(2, 2, 1, 1)]          prompt and answers
    """

    def __call__(self, groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        lengths = [(len(group["prompt_ids"]), *map(len, group["answer_ids"])) for group in groups]
        answers = [answer for group in groups for answer in group["answer_ids"]]
        sizes = [size for _, *others in lengths for size in others]
        starts = [0, *accumulate(map(sum, lengths))]
        firsts = [0, *accumulate(len(group["answer_ids"]) for group in groups)]
        pairs = [np.asarray(list(group["pairs"])) + first for group, first in zip(groups, firsts, strict=False)]
        counts = [len(group["pairs"]) for group in groups]
        return {
            "input_ids": torch.from_numpy(
                joined([ids for group in groups for ids in (group["prompt_ids"], *group["answer_ids"])])
            )[None],
            "position_ids": torch.from_numpy(np.concatenate([*map(_positions, lengths)]))[None],
            "predictor_index": torch.from_numpy(
                np.concatenate([_predictors(row, start) for row, start in zip(lengths, starts, strict=False)])
            ),
            "targets": torch.from_numpy(joined(answers)),
            "target_rows": torch.from_numpy(np.arange(len(answers)).repeat(sizes)),
            "pair_answers": torch.from_numpy(np.concatenate(pairs).T.reshape(-1)),
            "pair_lengths": lengths,
            "weight": torch.tensor([group["weight"] for group in groups], dtype=torch.float32).repeat_interleave(
                torch.tensor(counts)
            ),
            "index": torch.from_numpy(joined([group["rows"] for group in groups])),
        }


def _positions(lengths: Sequence[int]) -> np.ndarray:
    prompt, *answers = lengths
    return np.concatenate([np.arange(prompt), *(np.arange(prompt, prompt + size) for size in answers)])


def _predictors(lengths: Sequence[int], start: int) -> np.ndarray:
    """Where each answer token of a row that begins at `start` is predicted."""
    prompt, *answers = lengths
    begins = [start + prompt + before for before in (0, *accumulate(answers))]
    places = [np.arange(begin - 1, begin - 1 + size) for begin, size in zip(begins, answers, strict=False)]
    for place in places:
        place[0] = start + prompt - 1
    return np.concatenate(places)


def _columns(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, list[Any]]]:
    while batch := list(islice(rows, BATCH)):
        yield {name: [row[name] for row in batch] for name in batch[0]}
