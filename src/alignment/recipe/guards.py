"""What a recipe says of its warnings and alarms: `acknowledge`, `alarms` and `sample_every`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from alignment.errors import Fault, did_you_mean
from alignment.recipe.settings import Settings
from alignment.recipe.warnings import WARNINGS

Action = Literal["warn", "stop", "off"]
ACTIONS = ("warn", "stop", "off")

ALARM_NAMES = (
    *("loss-spike", "gradient-spike", "constant-loss", "no-movement", "chosen-falls", "rejected-falls"),
    *(
        "margins-without-accuracy",
        "below-chance",
        "overfitting",
        "length-drift",
        "repetition",
        "throughput-drop",
        "lagging-rank",
    ),
)
"""The alarms of `alignment.run.callbacks.alarms`, known without importing it."""

GUARD_KEYS: Mapping[str, Any] = {
    "acknowledge": list[str] | None,
    "alarms": Literal["warn", "stop", "off"] | dict[str, str] | None,
    "sample_every": int | None,
}


@dataclass(frozen=True, kw_only=True)
class AlarmSettings:
    """What happens when an alarm is raised."""

    default: Action = "warn"
    """`warn` tells and records it, `stop` also ends the run with a checkpoint, `off` does not look."""
    each: Mapping[str, Action] = field(default_factory=dict)
    """Alarm -> what happens instead."""
    sample_every: int | None = None
    """Steps between two samplings of answers to a few fixed prompts; `None` for none."""

    def action(self, name: str) -> Action:
        return self.each.get(name, self.default)


def alarm_settings(resolved: Mapping[str, Any]) -> AlarmSettings:
    """Of a checked recipe."""
    stated = resolved.get("alarms") or "warn"
    each: dict[str, Any] = {"default": stated} if isinstance(stated, str) else _by_name(stated)
    default = cast(Action, each.pop("default", "warn"))
    return AlarmSettings(default=default, each=each, sample_every=resolved.get("sample_every"))


def acknowledged(resolved: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the warnings that a checked recipe knows of."""
    return tuple(resolved.get("acknowledge") or ())


def _acknowledge(s: Settings) -> Iterator[Fault]:
    names = s.stated.get("acknowledge") if s.sound("acknowledge") else None
    for name in names or ():
        if name not in WARNINGS:
            remedy = did_you_mean(name, WARNINGS) or f"there are {', '.join(WARNINGS)}"
            yield Fault(key="acknowledge", value=name, rule="is no warning", remedy=remedy)


def _alarms(s: Settings) -> Iterator[Fault]:
    stated = s.stated.get("alarms") if s.sound("alarms") else None
    for name, action in _by_name(stated).items() if isinstance(stated, Mapping) else ():
        if name not in ("default", *ALARM_NAMES):
            remedy = did_you_mean(name, ("default", *ALARM_NAMES)) or f"there are default, {', '.join(ALARM_NAMES)}"
            yield Fault(key=f"alarms.{name}", value=action, rule="is no alarm", remedy=remedy)
        elif action not in ACTIONS:
            rule = f"must be one of {', '.join(ACTIONS)}"
            yield Fault(key=f"alarms.{name}", value=action, rule=rule, remedy=did_you_mean(action, ACTIONS))


def _sampling(s: Settings) -> Iterator[Fault]:
    every = s.stated.get("sample_every")
    if s.sound("sample_every") and every is not None and every < 1:
        yield Fault(
            key="sample_every", value=every, rule="must be at least 1 step", remedy="remove it to sample no answers"
        )


def _by_name(stated: Mapping[str, str]) -> dict[str, str]:
    """The command line writes `--alarms.loss_spike stop`, as it does all keys."""
    return {name.replace("_", "-"): action for name, action in stated.items()}


GUARD_RULES = (_acknowledge, _alarms, _sampling)
