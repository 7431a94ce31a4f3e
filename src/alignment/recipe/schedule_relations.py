"""Rules of the optimizer's and the scheduler's own arguments, which transformers reads after everything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from alignment.bound import Bound, above, at_least
from alignment.errors import Fault, did_you_mean
from alignment.recipe.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Argument:
    """What one entry of a mapping of arguments may be: a number within `bound`, or one of `words`."""

    bound: Bound = Bound()  # noqa: RUF009 (frozen)
    whole: bool = False
    words: tuple[str, ...] = ()

    def fault(self, key: str, value: Any) -> Fault | None:
        if self.words:
            rule, fits = f"must be one of {', '.join(self.words)}", value in self.words
        else:
            number = isinstance(value, int) or (isinstance(value, float) and not self.whole)
            fits = number and not isinstance(value, bool) and self.bound.holds(value)
            rule = f"must be a {'whole ' if self.whole else ''}number"
            if (self.bound.low, self.bound.high) != (-inf, inf):
                rule += f", {str(self.bound).removeprefix('must be ')}"
        return None if fits else Fault(key=key, value=value, rule=rule, remedy=self.bound.remedy)


_COUNT = Argument(bound=at_least(0, ""), whole=True)
_RATE = Argument(bound=at_least(0, "a learning rate such as 1e-7"))
_SHARE = Argument(bound=Bound(low=0, high=1, remedy="a share of learning_rate such as 0.1"))
_CYCLES = Argument(bound=above(0, "0.5 falls once, from learning_rate to the end"))
_FACTOR = Argument(bound=Bound(low=0, high=1, low_open=True, high_open=True, remedy="0.5 halves the rate"))
_SHAPES = Argument(words=("linear", "cosine", "1-sqrt"))
_FLOOR = {"num_cycles": _CYCLES, "min_lr": _RATE, "min_lr_rate": _SHARE}
_PLATEAU = {
    "mode": Argument(words=("min", "max")),
    "factor": _FACTOR,
    "patience": _COUNT,
    "threshold": _RATE,
    "threshold_mode": Argument(words=("rel", "abs")),
    "cooldown": _COUNT,
    "min_lr": _RATE,
    "eps": _RATE,
}

SCHEDULES: Mapping[str, Mapping[str, Argument]] = {
    "linear": {},
    "constant": {},
    "constant_with_warmup": {},
    "cosine": {"num_cycles": _CYCLES},
    "cosine_with_restarts": {"num_cycles": Argument(bound=at_least(1, "1 is a single fall"), whole=True)},
    "polynomial": {"lr_end": _RATE, "power": Argument(bound=above(0, "1 is a straight line"))},
    "inverse_sqrt": {"timescale": Argument(bound=at_least(1, "a number of steps"), whole=True)},
    "cosine_with_min_lr": _FLOOR,
    "cosine_warmup_with_min_lr": {**_FLOOR, "warmup_lr_rate": _SHARE},
    "warmup_stable_decay": {
        "num_decay_steps": Argument(bound=at_least(1, "the last steps, in which the rate falls"), whole=True),
        "num_stable_steps": _COUNT,
        "warmup_type": _SHAPES,
        "decay_type": _SHAPES,
        "min_lr_ratio": _SHARE,
        "num_cycles": _CYCLES,
    },
    "reduce_lr_on_plateau": _PLATEAU,
    "greedy": {
        **_PLATEAU,
        "max_lr": _RATE,
        "warmup": _COUNT,
        "window_size": Argument(bound=at_least(1, "a number of evaluations"), whole=True),
        "reset_start": _COUNT,
        "smooth": Argument(words=(True, False)),  # type: ignore[arg-type]
        "verbose": Argument(words=(True, False)),  # type: ignore[arg-type]
    },
}
"""lr_scheduler_type -> the entries that its lr_scheduler_kwargs may have (transformers.optimization)."""

OPTIMIZER_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "sgd": ("momentum", "dampening", "weight_decay", "nesterov"),
    "adagrad": ("lr_decay", "weight_decay", "eps"),
    "rmsprop": ("momentum", "alpha", "eps", "weight_decay", "centered"),
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "adafactor"), ()),
}
"""optim -> the names that its optim_args may have; other optimizers are left to the package that brings them."""
_SWITCHES = ("nesterov", "centered")


def _scheduler(s: Settings) -> Iterator[Fault]:
    if not s.sound("lr_scheduler_type", "lr_scheduler_kwargs"):
        return
    kind, stated = str(s["lr_scheduler_type"]), s["lr_scheduler_kwargs"] or {}
    if kind not in SCHEDULES:
        return
    known = SCHEDULES[kind]
    for name, value in stated.items():
        key = f"lr_scheduler_kwargs.{name}"
        if name not in known:
            takes = f"{kind} takes {', '.join(known)}" if known else f"{kind} takes none"
            remedy = did_you_mean(name, known) or f"remove it; {takes}"
            yield Fault(key=key, value=value, rule=f"is no argument of lr_scheduler_type {kind}", remedy=remedy)
        elif fault := known[name].fault(key, value):
            yield fault
    if "min_lr_rate" in known and ("min_lr" in stated) == ("min_lr_rate" in stated):
        yield Fault(
            key="lr_scheduler_kwargs",
            value=stated or None,
            rule=f"must have either min_lr or min_lr_rate for lr_scheduler_type {kind}",
            remedy="such as lr_scheduler_kwargs: {min_lr_rate: 0.1}, a tenth of learning_rate",
        )
    if kind == "warmup_stable_decay" and "num_decay_steps" not in stated:
        yield Fault(
            key="lr_scheduler_kwargs",
            value=stated or None,
            rule=f"must have num_decay_steps for lr_scheduler_type {kind}",
            remedy="such as lr_scheduler_kwargs: {num_decay_steps: 100}, the last steps, in which the rate falls",
        )
    if kind in ("reduce_lr_on_plateau", "greedy") and s.sound("eval_strategy") and s.strategy("eval_strategy") == "no":
        yield Fault(
            key="lr_scheduler_type",
            value=kind,
            rule="follows the evaluations, and eval_strategy is no",
            remedy="state eval_strategy: steps or epoch, or choose another schedule such as cosine",
        )
    yield from _end(s, kind, stated)


def _end(s: Settings, kind: str, stated: Mapping[str, Any]) -> Iterator[Fault]:
    """The rate at the end of a polynomial, which starts from learning_rate."""
    end = stated.get("lr_end", 1e-7)
    if kind == "polynomial" and s.sound("learning_rate") and isinstance(end, int | float) and end >= s["learning_rate"]:
        yield Fault(
            key="lr_scheduler_kwargs.lr_end",
            value=end,
            rule=f"must be below learning_rate {s['learning_rate']:g}",
            remedy="lower it, 0 for instance",
        )


def _optimizer(s: Settings) -> Iterator[Fault]:
    text, optimizer = s.stated.get("optim_args"), str(s["optim"])
    if not text or not s.sound("optim_args", "optim"):
        return
    known = OPTIMIZER_ARGUMENTS.get(optimizer)
    for entry in text.replace(" ", "").split(","):
        name, equals, value = entry.partition("=")
        if not (name and equals and value) or "=" in value:
            yield Fault(
                key="optim_args", value=text, rule="must be name=value pairs with commas", remedy="such as momentum=0.9"
            )
            return
        if known is not None and name not in known:
            takes = f"{optimizer} takes {', '.join(known)}" if known else f"{optimizer} takes none; its settings are "
            takes += "" if known else "learning_rate, weight_decay, adam_beta1, adam_beta2 and adam_epsilon"
            yield Fault(key="optim_args", value=text, rule=f"has {name}, which is no argument of it", remedy=takes)
        elif known and not _number(value) and not (name in _SWITCHES and value.lower() in ("true", "false")):
            yield Fault(key="optim_args", value=text, rule=f"must give {name} a number", remedy=f"such as {name}=0.9")


def _number(text: str) -> bool:
    try:
        return 0 <= float(text) < inf
    except ValueError:
        return False


SCHEDULE_RULES = (_scheduler, _optimizer)
