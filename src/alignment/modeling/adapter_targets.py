"""Do the names that a recipe gives to adapters stand for modules of the model? peft ignores some that do not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel

from alignment.errors import Fault, SetupError, did_you_mean
from alignment.modeling.folder_check import listed

if TYPE_CHECKING:
    from peft import PeftConfig

ALL_LINEAR = "all-linear"


def check_targets(model: PreTrainedModel, config: PeftConfig | None) -> None:
    """Compare the names of `config` with the modules and parameters of `model`.

    Raises:
        SetupError: with every name or pattern that matches nothing.
    """
    if config is None:
        return
    wanted = config.to_dict()
    modules = dict(model.named_modules())
    linear = {name.rpartition(".")[2] for name, module in modules.items() if isinstance(module, nn.Linear)}
    parts = {part for name in modules if (part := name.rpartition(".")[2]) and not part.isdigit()}
    kind = model.config.model_type
    found = [
        *_unmatched("lora_target_modules", wanted["target_modules"], modules, linear or parts, f"a module of {kind}"),
        *_unmatched("lora_modules_to_save", wanted["modules_to_save"], modules, parts, f"a module of {kind}"),
        *_unmatched(
            "lora_target_parameters",
            wanted["target_parameters"],
            dict(model.named_parameters()),
            {name for name, _ in model.named_parameters()},
            f"a parameter of {kind}",
        ),
        *_rank_too_high(wanted, modules),
    ]
    if found:
        raise SetupError(found)


def _rank_too_high(wanted: Mapping[str, Any], modules: Mapping[str, nn.Module]) -> Iterator[Fault]:
    """A fault when the adapters' rank is above that of a matrix they are put on: LoRA would add weights for nothing."""
    ranks = {
        name: min(module.in_features, module.out_features)
        for name, module in modules.items()
        if isinstance(module, nn.Linear) and _adapted(wanted["target_modules"], name)
    }
    smallest = min(ranks, key=lambda name: ranks[name], default=None)
    if smallest is not None and 0 < ranks[smallest] < wanted["r"]:
        yield Fault(
            key="lora_r",
            value=wanted["r"],
            rule=f"must be at most {ranks[smallest]}, the smaller side of {smallest}",
            remedy="lower it; 8 to 64 is usual",
        )


def _adapted(targets: str | Iterable[str] | None, name: str) -> bool:
    if targets == ALL_LINEAR:
        return name.rpartition(".")[2] not in ("lm_head", "score")  # heads, which peft leaves out
    if isinstance(targets, str):
        return _pattern_matches(targets, name)
    return any(_name_matches(target, name) for target in targets or ())


def _unmatched(
    key: str, wanted: str | Iterable[str] | None, there: Iterable[str], known: set[str], what: str
) -> Iterator[Fault]:
    """A fault for every wanted name that no name of `there` is or ends in; text is a pattern for whole names."""
    if not wanted or wanted == ALL_LINEAR:
        return
    names = [wanted] if isinstance(wanted, str) else sorted(wanted)
    matches = _pattern_matches if isinstance(wanted, str) else _name_matches
    for name in names:
        if not any(matches(name, full) for full in there):
            yield Fault(
                key=key,
                value=name,
                rule=f"is not {what}" if matches is _name_matches else f"is a pattern that matches no name of {what}",
                remedy=did_you_mean(name, known) or f"choose among {listed(known, most=12)}",
            )


def _name_matches(name: str, full: str) -> bool:
    return full == name or full.endswith(f".{name}")


def _pattern_matches(pattern: str, full: str) -> bool:
    try:
        return re.fullmatch(pattern, full) is not None
    except re.error:
        return False
