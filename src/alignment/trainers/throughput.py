"""Speed in every log: tokens and pairs a second, MFU, padding avoided, peak memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from transformers import TrainerCallback

from alignment.modeling.flops import Geometry, padded_tokens, peak_flops, training_flops


class Throughput(TrainerCallback):
    """Counts what every training micro-batch holds and times the optimizer steps, evaluation and saving excluded.

    A trainer that has one hands it every micro-batch (`count`) and merges `pop` into its logs.
    """

    def __init__(self, config: Any, device: torch.device, *, padded: bool, forward_passes: int = 3) -> None:
        """
        Args:
            config: the model's, for its geometry; without a known one MFU is not logged.
            device: what this rank computes on; its peak is known for common GPUs (`modeling.flops.PEAK_TFLOPS`).
            padded: padding is computed, too, so that it counts as tokens.
            forward_passes: what a step costs, in forward passes; a backward pass is two.
        """
        self.padded = padded
        self.forward_passes = forward_passes
        self.geometry = Geometry.known(config)
        self.device = device
        known = self.geometry is not None and device.type == "cuda"
        self.peak = peak_flops(torch.cuda.get_device_name(device)) if known else None
        self._clear()

    def count(self, batch: Mapping[str, Any]) -> None:
        """Add one micro-batch of this rank; a filler, which has weight 0, is no work done."""
        if "weight" in batch and not batch["weight"].any():
            return
        lengths = batch["pair_lengths"]
        self._tokens += batch["input_ids"].numel() if self.padded else sum(map(sum, lengths))
        self._two_row_tokens += padded_tokens(lengths)
        self._pairs += len(batch.get("weight", lengths))
        if self.geometry is not None:
            self._flops += training_flops(self.geometry, lengths, forward_passes=self.forward_passes)

    def pop(self, accelerator: Accelerator) -> dict[str, float]:
        """Rates over all ranks since the last call, a collective call; empty before the first step has ended."""
        local = [self._tokens, self._two_row_tokens, self._pairs, self._flops]
        sums = torch.tensor([*local, self._seconds], dtype=torch.float32, device=self.device)
        tokens, two_row_tokens, pairs, flops, rank_seconds = accelerator.reduce(sums, reduction="sum").tolist()
        self._clear()
        if not rank_seconds or not two_row_tokens:
            return {}
        seconds = rank_seconds / accelerator.num_processes
        rates = {
            "throughput/tokens_per_second": tokens / seconds,
            "throughput/pairs_per_second": pairs / seconds,
            "throughput/padding_avoided": 1 - tokens / two_row_tokens,
            "throughput/peak_memory_gib": self._peak_memory() / 2**30,
        }
        return rates | ({"throughput/mfu": flops / (rank_seconds * self.peak)} if self.peak else {})

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._clear()
        self._mark = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        now = time.perf_counter()
        self._seconds += now - self._mark
        self._mark = now

    def on_log(self, *_: Any, **__: Any) -> None:
        self._mark = time.perf_counter()  # what was done for the log, such as sampling answers, is no training

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self._mark = time.perf_counter()

    def on_save(self, *_: Any, **__: Any) -> None:
        self._mark = time.perf_counter()

    def _clear(self) -> None:
        self._tokens = self._two_row_tokens = self._pairs = 0
        self._flops = self._seconds = 0.0

    def _peak_memory(self) -> int:
        """Bytes of this rank's GPU, or of this process, at their highest so far."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
