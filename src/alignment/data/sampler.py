"""Which pairs make up optimizer step k, and who computes which of them.

The pairs of a step depend on the seed and the global batch alone. How they are dealt out to ranks and
micro-steps is a *plan*; every plan of the same step trains on the same pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import DataLoader, Dataset, Sampler

if TYPE_CHECKING:
    from transformers import TrainingArguments

Plan = Callable[[Sequence[int], int], list[list[list[int]]]]
"""`plan(rows, world_size)` deals the rows of one step out as `[micro_step][rank] -> rows`."""

PairRef = tuple[int, float]
"""A row of the data set and its weight: 1, or 0 for a filler."""


def even_plan(micro_batch_size: int) -> Plan:
    """Consecutive chunks of `micro_batch_size` rows, dealt to the ranks in turn, as accelerate deals them."""

    def plan(rows: Sequence[int], world_size: int) -> list[list[list[int]]]:
        chunks = [list(rows[i : i + micro_batch_size]) for i in range(0, len(rows), micro_batch_size)]
        micro_steps = math.ceil(len(chunks) / world_size)
        chunks += [[] for _ in range(micro_steps * world_size - len(chunks))]
        return [chunks[i : i + world_size] for i in range(0, len(chunks), world_size)]

    return plan


class StepSampler(Sampler[Any]):
    """Batch sampler: yields this rank's micro-batches, optimizer step after optimizer step.

    With a `seed`, an epoch's order is the one a plain `transformers.Trainer` of that seed visits; without one, the
    rows come as they lie. A rank that a plan leaves without rows (only the last step of an epoch can) gets one row
    of the step with weight 0, because collective operations need every rank to take part.
    """

    def __init__(
        self,
        *,
        num_rows: int,
        global_batch_size: int,
        plan: Plan,
        world_size: int = 1,
        rank: int = 0,
        seed: int | None = None,
        drop_last: bool = False,
    ) -> None:
        self.num_rows = num_rows
        self.global_batch_size = global_batch_size
        self.plan = plan
        self.world_size = world_size
        self.rank = rank
        self.drop_last = drop_last
        self._order: Any = range(num_rows)
        if seed is not None:
            self._order = SeedableRandomSampler(range(num_rows), generator=torch.Generator(), data_seed=seed)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def steps(self) -> Iterator[list[int]]:
        """The rows of each optimizer step of the epoch, whatever the world size."""
        if isinstance(self._order, SeedableRandomSampler):
            self._order.set_epoch(self._epoch)
        order = list(self._order)
        for start in range(0, self.num_rows, self.global_batch_size):
            rows = order[start : start + self.global_batch_size]
            if len(rows) == self.global_batch_size or not self.drop_last:
                yield rows

    def micro_batches(self, rows: Sequence[int]) -> Iterator[list[PairRef]]:
        """This rank's share of the step of these rows."""
        for ranks in self.plan(rows, self.world_size):
            mine = ranks[self.rank]
            yield [(row, 1.0) for row in mine] if mine else [(rows[0], 0.0)]

    def __iter__(self) -> Iterator[Any]:
        """Micro-batches, each a list of `PairRef`."""
        for rows in self.steps():
            yield from self.micro_batches(rows)

    def __len__(self) -> int:
        full_steps, rest = divmod(self.num_rows, self.global_batch_size)
        micro_steps = full_steps * len(self.plan(range(self.global_batch_size), self.world_size)) if full_steps else 0
        if rest and not self.drop_last:
            micro_steps += len(self.plan(range(rest), self.world_size))
        return micro_steps


class WholeStepSampler(StepSampler):
    """Yields all micro-batches of an optimizer step at once, as many as the plan makes of it."""

    def __iter__(self) -> Iterator[list[list[PairRef]]]:
        for rows in self.steps():
            yield list(self.micro_batches(rows))

    def __len__(self) -> int:
        full_steps, rest = divmod(self.num_rows, self.global_batch_size)
        return full_steps + (rest > 0 and not self.drop_last)


def training_sampler(args: TrainingArguments, *, num_rows: int, global_batch_size: int, plan: Plan) -> WholeStepSampler:
    """The shuffled steps of a run on this rank; what is planned and what is trained on come from here."""
    return WholeStepSampler(
        num_rows=num_rows,
        global_batch_size=global_batch_size,
        plan=plan,
        world_size=args.world_size,
        rank=args.process_index,
        seed=args.seed if args.data_seed is None else args.data_seed,
        drop_last=args.dataloader_drop_last,
    )


class PairDataset(Dataset):
    """Tokenized pairs addressed by `PairRef`, so that a filler's weight travels with its row."""

    def __init__(self, pairs: Any) -> None:
        # Arrays come out of Arrow without a Python object a token.
        self.pairs = pairs.with_format("numpy") if hasattr(pairs, "with_format") else pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, ref: PairRef | list[PairRef]) -> Any:
        if isinstance(ref, list):  # a micro-batch of a whole step
            return [self[pair] for pair in ref]
        row, weight = ref
        return {**self.pairs[row], "index": row, "weight": weight}


class StepDataLoader(DataLoader):
    """A DataLoader that hands the epoch on to its batch sampler."""

    batch_sampler: StepSampler

    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)
