"""Rules between keys. Each yields what it finds, and stays silent about values that are wrong by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from alignment.errors import Fault, did_you_mean
from alignment.methods import METHODS
from alignment.recipe.batch import batch_faults
from alignment.recipe.data_relations import DATA_RULES
from alignment.recipe.guards import GUARD_RULES
from alignment.recipe.machine_relations import MACHINE_RULES
from alignment.recipe.method_relations import METHOD_RULES
from alignment.recipe.metric_relations import METRIC_RULES
from alignment.recipe.saving import SAVING_RULES
from alignment.recipe.schedule_relations import SCHEDULE_RULES
from alignment.recipe.settings import Settings

Rule = Callable[[Settings], Iterator[Fault]]


def relation_faults(settings: Settings) -> Iterator[Fault]:
    """Every broken relation of the recipe."""
    own = METHODS[settings.method].relation_rules() if settings.method else ()
    for rule in (*RULES, *own):
        yield from rule(settings)


def _lengths(s: Settings) -> Iterator[Fault]:
    longest, prompt = s["max_length"], s["max_prompt_length"]
    if not (s.sound("max_length", "max_prompt_length") and longest and prompt and prompt >= longest):
        return
    if "max_prompt_length" in s.stated:
        yield Fault(
            key="max_prompt_length",
            value=prompt,
            rule=f"must be below max_length {longest}",
            remedy="lower it, or raise max_length",
        )
    else:
        yield Fault(
            key="max_length",
            value=longest,
            rule=f"must be above max_prompt_length, which is {prompt} when not stated",
            remedy="raise it, or state a max_prompt_length below it",
        )


def _padding(s: Settings) -> Iterator[Fault]:
    longest, multiple = s["max_length"], s.stated.get("pad_to_multiple_of")
    if s.sound("pad_to_multiple_of", "max_length") and isinstance(multiple, int) and longest and multiple > longest:
        yield Fault(
            key="pad_to_multiple_of",
            value=multiple,
            rule=f"must not be above max_length {longest}",
            remedy="8 or 64 suits the matrix units of a GPU",
        )


def _smoothing(s: Settings) -> Iterator[Fault]:
    loss = s["loss_type"] if isinstance(s["loss_type"], list) else [s["loss_type"]]
    if s.sound("loss_type", "label_smoothing") and "hinge" in loss and (s["label_smoothing"] or 0) > 0:
        yield Fault(
            key="label_smoothing",
            value=s["label_smoothing"],
            rule="must be 0 with loss_type hinge, which has no smoothed form",
            remedy="remove it, or use loss_type: sigmoid",
        )


def _warmup(s: Settings) -> Iterator[Fault]:
    if s.sound("warmup_ratio", "warmup_steps") and s.stated.get("warmup_ratio") and s.stated.get("warmup_steps"):
        yield Fault(
            key="warmup_ratio",
            value=s["warmup_ratio"],
            rule=f"contradicts warmup_steps {s['warmup_steps']:g}",
            remedy="keep one of the two",
        )
    steps = s.stated.get("warmup_steps")
    if s.sound("warmup_steps") and steps is not None and steps > 1 and steps != int(steps):
        yield Fault(
            key="warmup_steps",
            value=steps,
            rule="must be a whole number of steps, or a share of the run below 1",
            remedy="round it",
        )


def _steps(s: Settings) -> Iterator[Fault]:
    for key in ("logging_steps", "eval_steps", "save_steps"):
        value = s.stated.get(key)
        if s.sound(key) and isinstance(value, float) and value > 1 and value != int(value):
            yield Fault(
                key=key,
                value=value,
                rule="must be a whole number of steps, or a fraction of the run below 1",
                remedy="round it",
            )
    most = s.stated.get("max_steps")
    if s.sound("max_steps") and most is not None and most != -1 and most < 1:
        yield Fault(
            key="max_steps",
            value=most,
            rule="must be at least 1, or -1 for num_train_epochs to decide",
            remedy="remove it, or state the number of optimizer steps",
        )


def _precision(s: Settings) -> Iterator[Fault]:
    for one, other in (("bf16", "fp16"), ("bf16_full_eval", "fp16_full_eval")):
        if s.sound(one, other) and s[one] and s[other]:
            yield Fault(key=one, value=True, rule=f"contradicts {other}: true", remedy="keep one of the two")
    if s.sound("fp16", "dtype", "use_peft") and s["fp16"] and s["dtype"] == "float16" and not s["use_peft"]:
        yield Fault(
            key="dtype",
            value="float16",
            rule="cannot hold the weights that fp16: true trains, since their gradients are scaled in float32",
            remedy="write dtype: float32",
        )


def _adapters(s: Settings) -> Iterator[Fault]:
    if not s.sound("use_peft", "load_in_4bit", "load_in_8bit"):
        return
    if s["load_in_4bit"] and s["load_in_8bit"]:
        yield Fault(key="load_in_8bit", value=True, rule="contradicts load_in_4bit: true", remedy="keep one of the two")
    peft = s["use_peft"]
    for key in ("load_in_4bit", "load_in_8bit"):
        if s[key] and not peft:
            yield Fault(
                key=key, value=True, rule="cannot be trained without adapters", remedy="add use_peft: true (QLoRA)"
            )
    for key in s.stated:
        if not peft and (key.startswith("lora_") or key in ("use_rslora", "use_dora")) and s.changed(key):
            yield Fault(
                key=key,
                value=s[key],
                rule="has no effect without use_peft: true",
                remedy="add that, or remove this",
            )
        if not s["load_in_4bit"] and "bnb_" in key and s.changed(key):
            yield Fault(
                key=key,
                value=s[key],
                rule="has no effect without load_in_4bit: true",
                remedy="add that, or remove this",
            )


_USUAL_ATTENTION = (None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
"""What need not be looked up, which imports transformers."""


def _attention(s: Settings) -> Iterator[Fault]:
    name = s["attn_implementation"]
    if name in _USUAL_ATTENTION or not s.sound("attn_implementation") or "/" in name:
        return
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    known = sorted({"eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()} - {"paged"})
    known = [word for word in known if "|" not in word and not word.startswith("alignment_")]  # ours: no choice
    if name not in known:
        yield Fault(
            key="attn_implementation",
            value=name,
            rule=f"must be one of {', '.join(known)}, or a kernel repository",
            remedy=did_you_mean(name, known) or "eager works everywhere",
        )


def _batch(s: Settings) -> Iterator[Fault]:
    keys = ("global_batch_size", "per_device_train_batch_size", "gradient_accumulation_steps")
    if s.sound(*keys):
        yield from batch_faults(s.stated)


RULES: tuple[Rule, ...] = (
    _lengths,
    _padding,
    _smoothing,
    _warmup,
    _steps,
    _precision,
    *DATA_RULES,
    *SAVING_RULES,
    _adapters,
    _attention,
    _batch,
    *METHOD_RULES,
    *SCHEDULE_RULES,
    *METRIC_RULES,
    *MACHINE_RULES,
    *GUARD_RULES,
)
