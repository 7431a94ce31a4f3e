"""The plan of a recipe: everything that can be known before it runs, and the cheapest way that works."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.errors import Fault, RecipeError, SetupError
from alignment.methods import METHODS
from alignment.planning.case import Case
from alignment.planning.configurations import CONFIGURATIONS
from alignment.planning.gpus import GPUS, gpus_named
from alignment.planning.model_facts import model_facts
from alignment.planning.options import Option, command, on_cpu, on_gpus, ways
from alignment.planning.rows import rows_of
from alignment.planning.speed import Share, share_of_peak
from alignment.planning.summary import CPU
from alignment.recipe import Recipe
from alignment.recipe.batch import plan_batch
from alignment.recipe.sizes import saves_of

COUNTS = (1, 2, 4, 8, 16)
"""Numbers of GPUs that are looked at unless one is asked for."""
SMALL = 500_000_000
"""Weights below which a CPU is looked at, too."""
PATIENT_MINUTES = 120
"""A run that a CPU does within this time needs no GPU."""

SAME = 0.05
"""Costs that differ by less than this say nothing: the share of the peak is not known that well."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a plan is asked about."""

    gpu: str | None = None
    """Kind of GPU, or `cpu`; every kind when absent."""
    processes: int | None = None
    """GPUs of one machine."""
    machines: int | None = None
    price: float | None = None
    """Of one GPU for an hour, in any currency."""
    overrides: tuple[str, ...] = ()
    """Of the recipe, as they stood on the command line; for the command that is recommended."""

    def __post_init__(self) -> None:
        for key, value, rule in (
            ("NPROC", self.processes, "must be at least 1"),
            ("NNODES", self.machines, "must be at least 1"),
            ("PRICE_PER_GPU_HOUR", self.price, "must be above 0"),
        ):
            if value is not None and value <= 0:
                raise SetupError(Fault(key=key, value=value, rule=rule, remedy="leave it out for all that is usual"))

    @property
    def counts(self) -> tuple[int, ...]:
        """GPUs in all."""
        machines = self.machines or 1
        if self.processes is not None:
            return (self.processes * machines,)
        return COUNTS if self.machines is None else tuple(machines * count for count in COUNTS[:-1])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All options, and which of them is the cheapest that works."""

    case: Case
    request: Request
    share: Share
    options: Sequence[Option]
    recommended: int | None
    left_out: Sequence[str]
    """Numbers of processes that the recipe's batch does not allow."""

    @property
    def best(self) -> Option | None:
        return None if self.recommended is None else self.options[self.recommended]

    @property
    def tokens_per_step(self) -> int:
        """Tokens that an optimizer step computes on average, over all devices."""
        steps = self.case.steps(self.shown.count)
        return round(sum(self.case.sizes[row] for step in steps for row in step) / len(steps))

    @property
    def shown(self) -> Option:
        """The recommended option, or the one that comes nearest to fitting."""
        return self.best or min(self.options, key=lambda option: option.total / option.available)


def plan(recipe: Recipe, request: Request) -> Plan:
    """Everything about a recipe before it runs; no weight is loaded and nothing downloaded.

    Raises:
        RecipeError: the recipe's batch cannot be made by the processes asked for.
        SetupError: an unknown GPU, or a model that nobody here knows.
        DataError: rows that are here and cannot be trained on.
    """
    if METHODS[recipe.method].reward_model:
        rule = "is not planned: its head and its loss are others than those of language models"
        raise SetupError(
            Fault(key="method", value=recipe.method, rule=rule, remedy="plan a simpo recipe: it needs more")
        )
    gpus = gpus_named(request.gpu)
    left_out = _left_out(recipe, request)
    case = Case(recipe=recipe, model=model_facts(recipe.model), rows=rows_of(recipe))
    share = share_of_peak(Path.cwd())
    options = [on_gpus(case, way, share) for way in ways(case, gpus, request.counts, request.machines)]
    if request.gpu == CPU or (request.gpu is None and request.processes is None and case.model.parameters < SMALL):
        options.append(on_cpu(case, cores=len(os.sched_getaffinity(0))))
    recommended = cheapest(options)
    if recommended is not None and options[recommended].gpu != CPU:
        options[recommended] = _exactly(case, options[recommended], share)
    return Plan(case=case, request=request, share=share, options=options, recommended=recommended, left_out=left_out)


def cheapest(options: Sequence[Option]) -> int | None:
    """The option that works for the least money; a CPU where it takes a moment only.

    Without prices an hour of a GPU is worth what its peak is. Of those that cost the same the simplest is taken.
    """
    working = [number for number, option in enumerate(options) if option.fits]
    patient = [n for n in working if options[n].gpu == CPU and options[n].seconds <= 60 * PATIENT_MINUTES]
    on_gpu = [n for n in working if options[n].gpu != CPU]
    if patient or not on_gpu:
        return next(iter(patient or working), None)
    costs = {n: options[n].gpu_hours * GPUS[options[n].gpu].peak for n in on_gpu}
    return next(n for n, cost in costs.items() if cost <= (1 + SAME) * min(costs.values()))


def _exactly(case: Case, option: Option, share: Share) -> Option:
    """The same option, with every step of the run dealt out as training will."""
    configuration = next(known for known in CONFIGURATIONS if known.name == option.configuration)
    way = (GPUS[option.gpu], option.count, option.nodes, configuration)
    return on_gpus(case, way, share, every_step=True)


def _left_out(recipe: Recipe, request: Request) -> list[str]:
    """Numbers of processes that the batch does not allow, with the reason; the only one asked for is a fault."""
    counts = (1,) if request.gpu == CPU else request.counts
    faults = {count: found for count in counts if isinstance(found := plan_batch(recipe.resolved, count), Fault)}
    if len(faults) == len(counts):
        raise RecipeError(list(faults.values())[-1], where=recipe.name)
    return [f"{count} processes: {fault}" for count, fault in faults.items()]


def as_json(found: Plan) -> dict[str, Any]:
    """What `--json` prints."""
    case, best = found.case, found.best
    return {
        "recipe": case.recipe.name,
        "method": case.recipe.method,
        "model": {"id": case.recipe.model.model_name_or_path, "sizes_from": case.model.source},
        "parameters": case.model.parameters,
        "trainable_parameters": case.model.trainable,
        "rows": {"train": len(case.rows.train), "test": len(case.rows.test), "source": case.rows.source},
        "optimizer_steps": found.shown.steps,
        "tokens_per_step": found.tokens_per_step,
        "share_of_peak": {"value": found.share.value, "reason": found.share.reason},
        "options": [_option(found, option) for option in found.options],
        "recommended": found.recommended,
        "command": None if best is None else command(case, best, found.request.overrides),
        "disk_gib": disk_gib(case),
        "left_out": list(found.left_out),
    }


def _option(found: Plan, option: Option) -> dict[str, Any]:
    memory = {name: round(size / 2**30, 4) for name, size in option.memory.items()}
    price = found.request.price
    return {
        "gpu": option.gpu,
        "count": option.count,
        "nodes": option.nodes,
        "configuration": option.configuration,
        "fits": option.fits,
        "memory_gib": {**memory, "total": round(sum(memory.values()), 4)},
        "available_gib": round(option.available / 2**30, 2),
        "host_memory_gib": {name: round(size / 2**30, 2) for name, size in option.host.items()},
        "tokens_per_device": option.tokens_per_device,
        "checkpointed_layers": option.checkpointed_layers,
        "micro_batches": option.micro_batches,
        "optimizer_steps": option.steps,
        "minutes": round(option.seconds / 60, 2),
        "gpu_hours": round(option.gpu_hours, 3),
        "price": None if price is None or option.gpu == CPU else round(price * option.gpu_hours, 2),
    }


def disk_gib(case: Case) -> Mapping[str, float]:
    """The final model, and one checkpoint."""
    saves = saves_of(case.recipe.resolved, case.model.parameters)
    assert saves is not None
    checkpoint = 14 * case.model.trainable if saves.checkpoint is None else saves.checkpoint
    return {"final": round(saves.final / 2**30, 2), "checkpoint": round(checkpoint / 2**30, 2)}
