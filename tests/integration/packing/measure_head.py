"""Extra MiB of one forward and backward pass of an output head with a large vocabulary."""

from __future__ import annotations

import resource

import torch

from alignment.modeling.chunked_logps import chunked_logps

TOKENS, HIDDEN, VOCABULARY, SOFTCAP = 1024, 256, 256_000, 30.0


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    torch.manual_seed(0)
    x = torch.randn(TOKENS, HIDDEN, requires_grad=True)
    weight = torch.randn(VOCABULARY, HIDDEN, requires_grad=True)
    targets = torch.randint(0, VOCABULARY, (TOKENS,))
    (torch.randn(64, 64) @ torch.randn(64, 64)).sum()  # what a first product allocates once
    before = peak_mib()
    chunked_logps([(x, weight)], targets, softcap=SOFTCAP)[0].mean().backward()
    print(peak_mib() - before)
