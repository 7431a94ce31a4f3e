"""What a GPU runs compiled, compiled by this machine's own C++ compiler: distance to the plain pieces, and graphs made.

Prints a line of JSON a model. Needs OMP_NUM_THREADS=1: the compiler's guards include the number of threads.
"""

from __future__ import annotations

import json
import sys

import torch
from packing_models import build, distance, gradients, packed, random_pairs
from torch._dynamo.utils import counters

from alignment.modeling import chunked_logps, compiled_elementwise
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing


def values(model: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    logps = packed_logps(model, packed(random_pairs(4, seed=seed)))
    return {"sums": logps.sums.detach(), "means": logps.logit_means, **gradients(model, logps.means.sum())}


def fuse_and_compile(model: torch.nn.Module) -> None:
    """What `fuse_elementwise` does on a GPU."""
    compiled_elementwise._as_it_is = compiled_elementwise._compile
    compiled_elementwise.fuse_elementwise(model, torch.device("cpu"), compiled=False)


if __name__ == "__main__":
    plain_head, compiled_head = chunked_logps._kernels(torch.device("cpu")), chunked_logps._compiled()
    for name in sys.argv[1:]:
        plain, compiled = build(name), build(name)
        prepare_for_packing(plain)
        prepare_for_packing(compiled)
        fuse_and_compile(compiled)
        graphs, distances = [], []
        for seed in range(5):
            chunked_logps._kernels = lambda device: compiled_head
            found = values(compiled, seed)
            graphs.append(counters["stats"]["unique_graphs"])
            chunked_logps._kernels = lambda device: plain_head
            distances.append(distance(found, values(plain, seed)))
        print(json.dumps({"model": name, "distance": max(distances), "graphs": graphs}))
