"""axolotl's YAML: preference training (`rl: dpo, ipo, simpo, orpo`), reward models, and SFT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignment.errors import Fault, RecipeError
from alignment.recipe.convert.axolotl_keys import TABLE
from alignment.recipe.convert.draft import Draft
from alignment.recipe.convert.preference import finish, margin, refuse, supervised
from alignment.recipe.convert.source import Source

TITLE = "axolotl"
MARKS = (
    *("base_model", "micro_batch_size", "sequence_len", "datasets", "val_set_size", "adapter", "num_epochs"),
    *("sample_packing", "lr_scheduler", "optimizer", "rl", "dataset_prepared_path"),
)
NEEDED = ("base_model",)
METHODS = {None: "sft", "dpo": "dpo", "ipo": "dpo", "simpo": "simpo", "orpo": "orpo"}
TEMPLATES = {"chatml": "chatml", "llama3": "llama3", "gemma": "gemma2", "mistral_v1": "mistral"}
"""Its names of templates that are shipped here."""

_DEFAULTS = {"num_train_epochs": 1, "lr_scheduler_type": "cosine", "save_total_limit": 4, "warmup_ratio": 0.0}
DEFAULTS: dict[str, dict[str, Any]] = {
    "sft": _DEFAULTS,
    "dpo": {**_DEFAULTS, "beta": 0.1},
    "reward": _DEFAULTS,
    "orpo": {**_DEFAULTS, "beta": 0.1, "generation_prompt": "prompt"},
    "simpo": {**_DEFAULTS, "generation_prompt": "prompt"},
}
_ATTENTION = {
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
    "flex_attention": "flex_attention",
}
_QLORA = {"use_peft": True, "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": True}
_ADAPTERS: dict[str, dict[str, Any]] = {"lora": {"use_peft": True}, "qlora": _QLORA}
_FIELDS = {
    "field_messages": "messages",
    "field_prompt": "prompt",
    "field_system": "system",
    "field_chosen": "chosen",
    "field_rejected": "rejected",
    "field_instruction": "instruction",
    "field_input": "input",
    "field_output": "output",
}


def convert(source: Source) -> Draft:
    """The draft of an axolotl recipe."""
    draft = Draft(_method(source.settings), source.settings)
    _objective(draft)
    _data(draft)
    _template(draft)
    _weights(draft)
    _schedule(draft)
    return finish(draft, TABLE, DEFAULTS[draft.method], "the default of axolotl")


def _method(stated: Mapping[str, Any]) -> str:
    if stated.get("reward_model"):
        return "reward"
    name = stated.get("rl")
    if name not in METHODS:
        raise refuse(str(name), "rl")
    return METHODS[name]


def _objective(draft: Draft) -> None:
    kind = draft.take("rl", "reward model" if draft.take("reward_model") else None)
    if kind is not None:
        draft.change("rl", kind, {"method": draft.method, **({"loss_type": "ipo"} if kind == "ipo" else {})})
    trl = draft.take("trl", {})
    for key, value in (("trl.beta", trl.get("beta")), *((k, draft.take(k)) for k in ("rl_beta", "dpo_beta"))):
        if value is not None and "beta" not in draft.settings:
            draft.change(key, value, {"beta": value})
    if (alpha := draft.take("orpo_alpha")) is not None and "beta" not in draft.settings:
        draft.change("orpo_alpha", alpha, {"beta": alpha})
    if draft.method == "simpo":
        margin(draft, key="simpo_gamma", default=0.5, beta=0.1)
        supervised(draft, key="cpo_alpha", default=1.0)
    supervised(draft, key="rpo_alpha")


def _data(draft: Draft) -> None:
    """`datasets`, each a path with a type, and the share that is held out."""
    stated, held_out = draft.take("datasets", []), draft.take("val_set_size", 0)
    if not isinstance(stated, list) or not all(isinstance(entry, dict) and entry.get("path") for entry in stated):
        raise RecipeError(Fault(key="datasets", rule="must be a list of data sets with a path each"))
    sources = [_source(draft, at, entry) for at, entry in enumerate(stated)]
    evaluated = bool(held_out)
    if not evaluated:
        for key in ("eval_steps", "evals_per_epoch", "eval_strategy", "evaluation_strategy", "eval_sample_packing"):
            if (value := draft.take(key)) is not None:
                draft.drop(key, value, "no rows are held out for evaluation")
    if len(sources) == 1 and not evaluated:
        names = {"id": "dataset_name", "config": "dataset_config", "revision": "dataset_revision"}
        names["split"] = "dataset_train_split"
        draft.settings |= {names.get(key, key): value for key, value in sources[0].items()}
    elif sources:
        draft.settings["dataset_mixture"] = {"datasets": sources, **({"test_split_size": held_out} if held_out else {})}
        if held_out:
            draft.change("val_set_size", held_out, {"dataset_mixture.test_split_size": held_out})
            draft.settings.pop("dataset_mixture.test_split_size")


def _source(draft: Draft, at: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One of `datasets` as a source of ours."""
    place, left = f"datasets[{at}]", dict(entry)
    files, path = left.pop("data_files", None), left.pop("path")
    if files is not None and path in ("json", "csv", "parquet", "text"):
        path, files = (files, None) if isinstance(files, str) else (files[0], files[1:] or None)
    source: dict[str, Any] = {"id": path}
    if files:
        draft.lose(f"{place}.data_files", files, "name each file as a data set of its own")
    for old, new in (("name", "config"), ("split", "split"), ("revision", "revision")):
        if left.get(old) is not None:
            source[new] = left.pop(old)
    fields = {**left, **(left["type"] if isinstance(left.get("type"), dict) else {})}
    renamed = {value: _FIELDS[key] for key, value in fields.items() if key in _FIELDS and value != _FIELDS[key]}
    if draft.method != "sft" and (messages := fields.get("field_messages")):
        renamed[messages] = "prompt"
    if renamed := {theirs: ours for theirs, ours in renamed.items() if theirs != ours}:
        source["column_map"] = renamed
    draft.note("changed", place, f": {path} -> {', '.join(f'{key}: {value}' for key, value in source.items())}")
    for key, value in left.items():
        if key in _FIELDS or value is None:
            continue
        if key in ("type", "ds_type", "conversation", "chat_template", "roles", "message_property_mappings"):
            draft.drop(f"{place}.{key}", value, "what shape rows have is told by the rows; see dataset_format")
        else:
            draft.lose(f"{place}.{key}", value, "it has no counterpart here")
    return source


def _template(draft: Draft) -> None:
    name, jinja = draft.take("chat_template"), draft.take("chat_template_jinja")
    if jinja is not None:
        draft.change("chat_template_jinja", jinja, {"chat_template": jinja})
    elif name in TEMPLATES:
        draft.change("chat_template", name, {"chat_template": TEMPLATES[name]})
    elif name is not None:
        draft.drop("chat_template", name, "the tokenizer's own template is used; state chat_template for another")


def _weights(draft: Draft) -> None:
    """How weights are held, and which of them are trained."""
    kind = draft.take("adapter")
    if kind in _ADAPTERS:
        draft.change("adapter", kind, _ADAPTERS[kind])
        draft.left = {k: v for k, v in draft.left.items() if not (k == "load_in_4bit" and kind == "qlora")}
    elif kind is not None:
        draft.lose("adapter", kind, "adapters are LoRA's: use_peft: true")
    else:
        for key in [key for key in draft.left if key.startswith(("lora_", "peft_"))]:
            value = draft.left.pop(key)
            if value is not None:
                draft.drop(key, value, "there is no adapter")
    if draft.take("lora_target_linear"):
        draft.take("lora_target_modules")
        draft.change("lora_target_linear", True, {"lora_target_modules": "all-linear"})
    for key, name in _ATTENTION.items():
        if draft.take(key):
            draft.change(key, True, {"attn_implementation": name})
    bf16 = draft.take("bf16", draft.take("bfloat16"))
    if bf16 == "auto":
        draft.change("bf16", bf16, {"bf16": True}, "said here; write false for a GPU without bf16")
    elif bf16 == "full":
        draft.change("bf16", bf16, {"bf16": True, "dtype": "bfloat16"})
    elif bf16 is not None:
        draft.settings["bf16"] = bool(bf16)
    for key in ("fp16", "float16"):
        if (half := draft.take(key)) and half != "auto" and not draft.settings.get("bf16"):
            draft.settings["fp16"] = True
    if "dtype" not in draft.settings and draft.settings.get("bf16") and not draft.settings.get("use_peft"):
        draft.note("note", "dtype", ": float32, the default here; there weights are held in bf16 alone, where small "
                                    "updates round to none")  # fmt: skip
    if isinstance(kept := draft.left.get("gradient_checkpointing"), str):
        draft.change(
            "gradient_checkpointing", draft.take("gradient_checkpointing"), {"gradient_checkpointing": True}, kept
        )


def _schedule(draft: Draft) -> None:
    """Counts an epoch, which here are shares of the run."""
    epochs = draft.left.get("num_epochs") or 1
    for old, new in (("evals_per_epoch", "eval"), ("saves_per_epoch", "save")):
        if count := draft.take(old):
            share = round(1 / (count * epochs), 6)
            steps = {f"{new}_strategy": "epoch"} if count == 1 else {f"{new}_strategy": "steps", f"{new}_steps": share}
            draft.change(old, count, steps, f"of {epochs} epochs")
        elif draft.left.get(f"{new}_steps") and not draft.left.get(f"{new}_strategy"):
            draft.add(f"{new}_strategy", "steps", f"{new}_steps says so there")
    if "hub_model_id" in draft.left and draft.left["hub_model_id"] and "push_to_hub" not in draft.left:
        draft.add("push_to_hub", True, "hub_model_id says so there")
    if draft.left.get("wandb_project") or draft.take("use_wandb"):
        draft.add("report_to", "wandb", "wandb_project says so there")
    packing = draft.take("sample_packing")
    if packing is not None and draft.method == "sft":
        draft.change("sample_packing", packing, {"packing": packing})
    elif packing is not None:
        draft.drop("sample_packing", packing, "packing: true, the default, shares prompts without changing the loss")
    if (grouped := draft.take("group_by_length")) is not None:
        if grouped and draft.method in ("sft", "reward"):
            draft.change("group_by_length", grouped, {"train_sampling_strategy": "group_by_length"})
        else:
            draft.drop("group_by_length", grouped, "rows are shuffled")
