"""A trainer whose logs say how fast it is."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from alignment.trainers.reporting import ReportingTrainer
from alignment.trainers.throughput import Throughput


class MeasuredTrainer(ReportingTrainer):
    """Once `measure_throughput` is called, micro-batches (which carry `pair_lengths`) are counted and rates logged."""

    _throughput: Throughput | None = None

    def measure_throughput(self, *, padded: bool, forward_passes: int = 3) -> None:
        """Arguments as for `Throughput`."""
        self._throughput = Throughput(self.model.config, self.args.device, padded=padded, forward_passes=forward_passes)
        self.add_callback(self._throughput)

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward of one micro-batch."""
        if self._throughput:
            self._throughput.count(inputs)
        return super().training_step(model, inputs, num_items_in_batch)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self._throughput and "loss" in logs:
            logs = {**logs, **self._throughput.pop(self.accelerator)}
        super().log(logs, start_time)
