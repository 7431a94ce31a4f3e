"""From a tree of YAML to typed, frozen values, or to the list of everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignment.errors import Fault, RecipeError, did_you_mean
from alignment.files import shown_path
from alignment.methods import METHODS
from alignment.recipe.bounds import bound_faults
from alignment.recipe.cleaning import Deduplication, decontamination
from alignment.recipe.evaluation_settings import EvaluationSettings
from alignment.recipe.fault_sources import fault_origin, with_sources
from alignment.recipe.fields import fields_of
from alignment.recipe.files import recipe_word
from alignment.recipe.frozen import FrozenDict, freeze, thaw
from alignment.recipe.guards import GUARD_KEYS
from alignment.recipe.loop_settings import LOOP
from alignment.recipe.pairs_settings import PAIRS
from alignment.recipe.paths import Places
from alignment.recipe.relations import relation_faults
from alignment.recipe.renamed_keys import MOVED, NOT_HERE, unknown_key
from alignment.recipe.sample_evaluation import SampleEvaluation
from alignment.recipe.saving import save_arguments
from alignment.recipe.schema import DataArguments, DatasetMixture, DatasetSource, ModelArguments
from alignment.recipe.selection import SelectionSettings
from alignment.recipe.settings import DEFAULTS, GRADIENT_CHECKPOINTING, Settings, training_hints
from alignment.recipe.types import build, convert, hints, plain, required
from alignment.recipe.yaml_document import Document

ROOT_KEYS: Mapping[str, Any] = {
    "method": str,
    "global_batch_size": int | None,
    "sample_evaluation": SampleEvaluation | None,
    "evaluation": EvaluationSettings | None,
    "gradient_checkpointing": bool | Literal["auto"],
    "overwrite_output_dir": bool,
    "save_every_minutes": float | None,
    **GUARD_KEYS,
}
SECTIONS: Mapping[str, Any] = {"sample_evaluation": SampleEvaluation, "evaluation": EvaluationSettings}
"""Keys that hold settings of their own."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The parts of a recipe without fault."""

    method: str
    model: ModelArguments
    data: DataArguments
    sample_evaluation: SampleEvaluation | None
    evaluation: EvaluationSettings | None
    training: FrozenDict
    resolved: FrozenDict
    places: Mapping[str, str]
    """Absolute paths by the dotted keys that name them, and the source of the chat template."""


def check_document(document: Document, *, path: Path, name: str, method: str | None) -> Checked:
    """Checks everything, then builds. Raises RecipeError with all faults, each with the place it was stated."""
    _refuse_others(document, path)
    method, faults = _method(document, method)
    values, found = _values(document, method)
    faults = [*document.faults, *faults, *found]
    faults.extend(bound_faults(method, values))
    for key, section in SECTIONS.items():
        if isinstance(values.get(key), dict) and not _under(key, faults):
            faults.extend(build(section, values[key]).faults())
    values.setdefault("output_dir", None)
    values["output_dir"] = values["output_dir"] or f"outputs/{name.replace('/', '-')}"
    if values.get("report_to", "none") is None:
        values["report_to"] = "none"

    # A wrong entry inside a mapping leaves the rest of the mapping to be checked.
    wrong = {_top(fault.key) for fault in faults if fault.key == _top(fault.key) or _top(fault.key) not in values}
    settings = Settings(method, values, wrong)
    places = Places(path, lambda key: fault_origin(document, key))
    faults.extend(relation_faults(settings))
    faults.extend(places.faults(settings))
    faults.extend(_checkpointing_faults(settings))
    if faults or method is None:
        raise RecipeError(list(with_sources(faults, document)), where=shown_path(path))
    return _build(method, values, places.found)


def _refuse_others(document: Document, path: Path) -> None:
    """A recipe of another command is told which one that is."""
    method = plain(document.tree.get("method"), as_text=True)
    word = recipe_word(path)
    told = {
        PAIRS: (
            "makes preference data, and trains nothing",
            f'make pairs RECIPE={word}, and then make train RECIPE=... ARGS="--dataset_name <its folder>"',
        ),
        LOOP: ("is rounds of pairs, training and evaluation", f"make loop RECIPE={word}"),
    }
    if isinstance(method, str) and method in told:
        rule, remedy = told[method]
        fault = Fault(key="method", value=method, rule=rule, remedy=remedy)
        raise RecipeError(list(with_sources([fault], document)), where=shown_path(path))


def _method(document: Document, expected: str | None) -> tuple[str | None, list[Fault]]:
    stated = plain(document.tree.get("method"), as_text=True)
    listed = ", ".join(METHODS)
    if stated is None and expected is None:
        return None, [Fault(key="method", rule=f"must be stated: one of {listed}", remedy="write method: simpo")]
    if stated is not None and (not isinstance(stated, str) or stated not in METHODS):
        remedy = did_you_mean(str(stated).lower(), METHODS)
        return expected, [Fault(key="method", value=stated, rule=f"must be one of {listed}", remedy=remedy)]
    if stated is not None and expected is not None and stated != expected:
        remedy = f"run scripts/{stated}.py or `make train`, or give a recipe for {expected}"
        return stated, [Fault(key="method", value=stated, rule=f"must be {expected} for this script", remedy=remedy)]
    return stated or expected, []


def _values(document: Document, method: str | None) -> tuple[dict[str, Any], list[Fault]]:
    """Checked values by top-level key, and the faults of the rest. Without a method every method's keys count."""
    methods = [method] if method else list(METHODS)
    training = {key: declared for each in methods for key, declared in training_hints(each).items()}
    known = {**training, **hints(ModelArguments), **hints(DataArguments), **ROOT_KEYS}
    needed = required(ModelArguments)
    values: dict[str, Any] = {"method": method} if method else {}
    faults: list[Fault] = []
    for key, node in document.tree.items():
        if key == "method" or (node is None and key in needed):
            continue
        idle = key == "label_smoothing_factor" and method is not None and METHODS[method].data == "preference"
        moved = key in MOVED and not any(key in METHODS[each].bounds for each in methods)
        if key not in known or moved or key in NOT_HERE or idle:
            shown = plain(node, as_text=True)
            owners = [other for other in METHODS if other != method and _has(other, key)] if method else []
            if owners and plain(node) is None:
                continue  # none of what this method has not: how a recipe drops a key of the one that it extends
            faults.append(unknown_key(key, shown, method=method, known=known, owners=owners))
            continue
        value, wrong = convert(key, known[key], node)
        faults.extend(wrong)
        if not wrong:
            values[key] = value
    for key in needed:
        if document.tree.get(key) is None:
            faults.append(Fault(key=key, rule="must be stated", remedy="a Hub id, a local folder, or bundled:<name>"))
    return values, faults


def _has(method: str, key: str) -> bool:
    try:
        return key in training_hints(method)
    except ImportError:  # the GPU-only installation has no TRL; then nothing can be said about its keys
        return False


def _checkpointing_faults(settings: Settings) -> Iterator[Fault]:
    if settings.method is None or settings.stated.get("gradient_checkpointing") != GRADIENT_CHECKPOINTING:
        return
    if not METHODS[settings.method].plans_steps:
        yield Fault(
            key="gradient_checkpointing",
            value=GRADIENT_CHECKPOINTING,
            rule=f"must be true or false for {settings.method}",
            remedy="true saves memory, false saves time",
        )


def _build(method: str, values: dict[str, Any], found: Mapping[str, str]) -> Checked:
    training_keys = training_hints(method)
    placed = {key: found.get(key, value) for key, value in values.items()}
    sections = {key: _section(key, placed[key], found) for key in SECTIONS if placed.get(key) is not None}
    data = {key: freeze(placed[key]) for key in hints(DataArguments) if key in placed}
    if data.get("dataset_mixture"):
        data["dataset_mixture"] = _mixture(placed["dataset_mixture"], found)
    if data.get("decontaminate") is not None:
        data["decontaminate"] = decontamination(freeze(placed["decontaminate"]), found)
    if data.get("selection") is not None:
        data["selection"] = SelectionSettings(**placed["selection"])
    if data.get("deduplicate") is not None:
        data["deduplicate"] = Deduplication(**placed["deduplicate"])
    evaluated = values.get("eval_strategy", "no") != "no" or values.get("do_eval")
    if data.get("dataset_name"):
        data["dataset_test_split"] = (data.get("dataset_test_split") or "test") if evaluated else None
    model = {key: freeze(placed[key]) for key in hints(ModelArguments) if key in placed}
    if model.get("lora_target_modules") == ("all-linear",):
        model["lora_target_modules"] = "all-linear"
    training = {key: value for key, value in values.items() if key in training_keys}
    return Checked(
        method=method,
        model=ModelArguments(**model),
        data=DataArguments(**data),
        sample_evaluation=sections.get("sample_evaluation"),
        evaluation=sections.get("evaluation"),
        training=freeze(_for_transformers(method, training, values)),
        resolved=freeze(values),
        places=found,
    )


def _section(key: str, values: Mapping[str, Any], found: Mapping[str, str]) -> Any:
    """The settings of a section, with the places of its files."""
    placed: dict[str, Any] = thaw(values)
    for name, path in found.items():
        if name.startswith(f"{key}."):
            _, *inner, last = name.split(".")
            holder = placed
            for part in inner:
                holder = holder[part]
            holder[last] = path
    return build(SECTIONS[key], placed)


def _mixture(values: Mapping[str, Any], found: Mapping[str, str]) -> DatasetMixture:
    sources = []
    for at, source in enumerate(values["datasets"]):
        place = found.get(f"dataset_mixture.datasets[{at}].id", source["id"])
        sources.append(DatasetSource(**freeze({**source, "id": place})))
    return DatasetMixture(**{**values, "datasets": tuple(sources)})


def _for_transformers(method: str, training: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`training` in the spelling of the installed transformers, with the few defaults that are ours."""
    fields = fields_of(method).types
    arguments = {**DEFAULTS, **training, **save_arguments(values)}
    if "warmup_ratio" in arguments:
        ratio = arguments.pop("warmup_ratio")
        arguments["warmup_steps"] = arguments.get("warmup_steps") or ratio
    for old in ("gradient_checkpointing", "gradient_checkpointing_kwargs"):
        new = old.replace("gradient", "activation")
        if old in arguments and new in fields:
            arguments[new] = arguments.pop(old)
    for key, value in arguments.items():
        if fields.get(key) is float and isinstance(value, int) and not key.endswith("_steps"):
            arguments[key] = float(value)  # an optimizer refuses a beta of 0 that is no floating-point number
    shared = [key for key in ("dataset_num_proc", "trust_remote_code") if key in values and key in fields]
    return arguments | {key: values[key] for key in shared}


def _top(key: str) -> str:
    return key.partition(".")[0].partition("[")[0]


def _under(key: str, faults: list[Fault]) -> bool:
    return any(_top(fault.key) == key for fault in faults)
