"""Process seconds and extra MiB of one forward and backward pass of an output head with a large vocabulary."""

from __future__ import annotations

import resource
import sys
import time

import torch

from alignment.modeling.head import chunked_logps

HIDDEN, VOCABULARY, SOFTCAP = 256, 256_000, 30.0


def naive(x: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = torch.tanh(x @ weight.t() / SOFTCAP) * SOFTCAP
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]


def chunked(x: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return chunked_logps([(x, weight)], targets, softcap=SOFTCAP)[0]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind, tokens = sys.argv[1], int(sys.argv[2])
    x = torch.randn(tokens, HIDDEN, requires_grad=True)
    weight = torch.randn(VOCABULARY, HIDDEN).mul_(0.1).requires_grad_()
    targets = torch.randint(0, VOCABULARY, (tokens,))
    (torch.randn(64, 64) @ torch.randn(64, 64)).sum()
    before, started = peak_mib(), time.process_time()
    {"naive": naive, "chunked": chunked}[kind](x, weight, targets).mean().backward()
    print(time.process_time() - started, peak_mib() - before)
