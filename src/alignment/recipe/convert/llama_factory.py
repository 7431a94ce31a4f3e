"""LLaMA-Factory's YAML and command lines: stages sft, dpo (with its losses) and rm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.recipe.convert.draft import Draft, Drop, Lost, Table, To
from alignment.recipe.convert.preference import finish, margin, refuse, supervised
from alignment.recipe.convert.source import Source

TITLE = "LLaMA-Factory"
MARKS = (
    *("stage", "finetuning_type", "template", "cutoff_len", "pref_beta", "pref_loss", "dataset", "lora_rank"),
    *("quantization_bit", "plot_loss", "val_size", "pref_ftx"),
)
NEEDED = ("stage",)
LOSSES = {
    "sigmoid": ("dpo", "sigmoid"),
    "hinge": ("dpo", "hinge"),
    "ipo": ("dpo", "ipo"),
    "orpo": ("orpo", None),
    "simpo": ("simpo", None),
}
"""Its losses: the method, and the loss of it."""
STAGES = {"sft": "sft", "rm": "reward", "orpo": "orpo"}
TEMPLATES = {name: name for name in ("gemma2", "llama3", "mistral", "zephyr", "chatml")} | {"gemma": "gemma2"}
"""Its names of templates that are shipped here."""

_ATTENTION = {"fa2": "flash_attention_2", "fa3": "flash_attention_3", "disabled": "eager"}
_SPEED = "decided by what the machine has"
_CACHE = "tokens are kept in the cache of data sets"
TABLE: Table = {
    "cutoff_len": To("max_length"),
    "preprocessing_num_workers": To("dataset_num_proc"),
    "max_samples": To("max_train_samples"),
    "lora_rank": To("lora_r"),
    "dpo_label_smoothing": To("label_smoothing"),
    "flash_attn": To("attn_implementation", _ATTENTION),
    "quantization_type": To("bnb_4bit_quant_type"),
    "double_quantization": To("use_bnb_nested_quant"),
    "enable_liger_kernel": To("use_liger_kernel"),
    "evaluation_strategy": To("eval_strategy"),
    "moe_aux_loss_coef": To("router_aux_loss_coef"),
    "do_train": Drop("make train trains"),
    "do_predict": Drop("make generate answers"),
    "overwrite_output_dir": Drop("an interrupted run goes on, and a finished one is not trained over by chance"),
    "overwrite_cache": Drop(_CACHE),
    "tokenized_path": Drop(_CACHE),
    "preprocessing_batch_size": Drop(_CACHE),
    "data_shared_file_system": Drop(_CACHE),
    "plot_loss": Drop("curves are always drawn"),
    "use_fast_tokenizer": Drop("tokenizers are fast"),
    "low_cpu_mem_usage": Drop(_SPEED),
    "use_unsloth": Drop(_SPEED),
    "use_unsloth_gc": Drop(_SPEED),
    "upcast_layernorm": Drop(_SPEED),
    "upcast_lmhead_output": Drop("log-probabilities are computed in fp32"),
    "quantization_method": Drop("load_in_4bit and load_in_8bit are bitsandbytes'"),
    "ignore_pad_token_for_loss": Drop("padding is never trained"),
    "include_num_input_tokens_seen": Drop("tokens are always counted"),
    "remove_unused_columns": Drop("columns are chosen by the method"),
    "dataset_dir": Drop("dataset_info.json is only read by this conversion"),
    "cache_dir": Drop("set the HF_HOME environment variable"),
    "hf_hub_token": Drop("set the HF_TOKEN environment variable"),
    "ray_run_name": Drop("started by make train"),
    "enable_thinking": Lost("the chat template decides what an answer begins with"),
    "default_system": Lost("put a system message into the rows, or into the chat template"),
    "adapter_name_or_path": Lost("training starts from a whole model; merge these adapters into one first"),
    "pref_bco_weight": Lost("losses are mixed by loss_type and loss_weights: [sigmoid, bco_pair]"),
    "kto_chosen_weight": Lost("KTO is not offered here"),
    "kto_rejected_weight": Lost("KTO is not offered here"),
    "ref_model": Lost("the reference is the model that training starts from"),
    "ref_model_adapters": Lost("the reference is the model that training starts from"),
    "eval_dataset": Lost("evaluation rows come from dataset_test_split or dataset_mixture.test_split_size"),
    "streaming": Lost("rows are checked before training, so they are all read"),
    "mix_strategy": Lost("sources are concatenated and shuffled"),
    "interleave_probs": Lost("weight in dataset_mixture.datasets takes a share of a source"),
    "train_on_prompt": Lost("the assistant's turns alone are trained"),
    "rope_scaling": Lost("write it into the config of the model's folder"),
    "resize_vocab": Lost("tokens are not added to a vocabulary here; save a model and tokenizer that have them"),
    "add_tokens": Lost("tokens are not added to a vocabulary here; save a model and tokenizer that have them"),
    "additional_target": To("lora_modules_to_save"),
}  # fmt: skip
_DEFAULTS = {"learning_rate": 5e-5, "num_train_epochs": 3, "lr_scheduler_type": "linear", "warmup_ratio": 0.0}
_MORE = {**_DEFAULTS, "max_length": 2048}
DEFAULTS: dict[str, dict[str, Any]] = {
    "sft": _MORE,
    "dpo": {**_MORE, "beta": 0.1},
    "reward": _MORE,
    "orpo": {**_MORE, "beta": 0.1, "generation_prompt": "prompt"},
    "simpo": {**_MORE, "generation_prompt": "prompt"},
}
_LORA: dict[str, Any] = {"lora_r": 8, "lora_dropout": 0.0, "lora_target_modules": "all-linear"}
_COLUMNS = ("prompt", "query", "response", "chosen", "rejected", "messages", "system")


def convert(source: Source) -> Draft:
    """The draft of a LLaMA-Factory recipe."""
    draft = Draft(_method(source.settings), source.settings)
    _objective(draft)
    _adapters(draft)
    _weights(draft)
    _data(draft, source.path)
    template = draft.take("template")
    if template in TEMPLATES:
        draft.change("template", template, {"chat_template": TEMPLATES[template]})
    elif template is not None:
        draft.drop("template", template, "the tokenizer's own template is used; state chat_template for another")
    if (last := draft.take("mask_history")) and draft.method == "sft":
        draft.change("mask_history", last, {"assistant_turns": "last"})
    if (packing := draft.take("neat_packing")) is not None:
        draft.change("neat_packing", packing, {"packing": packing})
    return finish(draft, TABLE, DEFAULTS[draft.method], "the default of LLaMA-Factory")


def _method(stated: Mapping[str, Any]) -> str:
    stage, loss = str(stated.get("stage", "sft")), str(stated.get("pref_loss") or "sigmoid")
    if stage == "dpo":
        if loss not in LOSSES:
            raise refuse(loss.removesuffix("_pair"), "pref_loss")
        return LOSSES[loss][0]
    if stage not in STAGES:
        raise refuse(stage, "stage")
    return STAGES[stage]


def _objective(draft: Draft) -> None:
    stage, kind = draft.take("stage", "sft"), draft.take("pref_loss")
    draft.change("stage", stage, {"method": draft.method})
    if kind and stage == "dpo":
        loss = LOSSES[kind][1]
        draft.change("pref_loss", kind, {"loss_type": loss} if loss else {"method": draft.method})
    elif kind:
        draft.drop("pref_loss", kind, f"has no effect in stage {stage}")
    if (beta := draft.take("pref_beta", draft.take("dpo_beta", draft.take("orpo_beta")))) is not None:
        draft.change("pref_beta", beta, {"beta": beta})
    if draft.method == "simpo":
        margin(draft, key="simpo_gamma", default=0.5, beta=0.1)
    elif (gamma := draft.take("simpo_gamma")) is not None:
        draft.drop("simpo_gamma", gamma, f"{draft.method} has no margin")
    if draft.method in ("dpo", "simpo"):
        supervised(draft, key="pref_ftx")
        supervised(draft, key="dpo_ftx")


def _adapters(draft: Draft) -> None:
    """LoRA, which is the default there, with its ranks."""
    kind = draft.take("finetuning_type", "lora")
    if kind != "lora":
        if kind != "full":
            draft.lose("finetuning_type", kind, "all weights or LoRA adapters are trained")
        else:
            draft.note("changed", "finetuning_type", ": full -> all weights, the default")
        for key in [key for key in draft.left if key.startswith("lora_")]:
            if (value := draft.left.pop(key)) is not None:
                draft.drop(key, value, "there is no adapter")
        return
    draft.change("finetuning_type", kind, {"use_peft": True})
    if target := draft.take("lora_target"):
        names = [name.strip() for name in target.split(",")] if isinstance(target, str) else target
        draft.change("lora_target", target, {"lora_target_modules": "all-linear" if names == ["all"] else names})
    rank = draft.left.get("lora_rank") or _LORA["lora_r"]
    if draft.left.get("lora_rank") is not None:
        draft.change("lora_rank", draft.take("lora_rank"), {"lora_r": rank})
    if draft.left.get("lora_alpha") is None:
        draft.add("lora_alpha", rank * 2, "twice the rank, the default there")
    stated = draft.left
    draft.defaults({key: value for key, value in _LORA.items() if stated.get(key) is None}, "the default there")


def _weights(draft: Draft) -> None:
    bits = draft.take("quantization_bit")
    if bits in (4, 8):
        draft.change("quantization_bit", bits, {f"load_in_{bits}bit": True})
        if bits == 4 and draft.left.get("double_quantization") is None:
            draft.add("use_bnb_nested_quant", True, "the default there")
    elif bits is not None:
        draft.lose("quantization_bit", bits, "frozen weights are held in 4 or 8 bits")
    if pure := draft.take("pure_bf16"):
        draft.change("pure_bf16", pure, {"bf16": True, "dtype": "bfloat16"})
    if (off := draft.take("disable_gradient_checkpointing")) is not None:
        draft.change("disable_gradient_checkpointing", off, {"gradient_checkpointing": not off})
    else:
        draft.add("gradient_checkpointing", True, "the default there")
    if draft.left.get("flash_attn") == "auto":
        draft.drop("flash_attn", draft.take("flash_attn"), "the model's own choice is the default")


def _data(draft: Draft, path: Path) -> None:
    """`dataset`: names of its dataset_info.json, resolved where that file is at hand."""
    stated, held_out = draft.take("dataset"), draft.take("val_size", 0)
    names = [name.strip() for name in stated.split(",")] if isinstance(stated, str) else list(stated or ())
    info, folder = _dataset_info(str(draft.left.get("dataset_dir") or "data"), path)
    sources = [_source(draft, name, info[name], folder) for name in names if name in info]
    if missing := [name for name in names if name not in info]:
        draft.lose("dataset", ", ".join(missing), "a name of its dataset_info.json, which is not here; a recipe names "
                                                  "Hub ids, files and folders")  # fmt: skip
        if held_out:
            draft.lose(
                "val_size", held_out, "write test_split_size under dataset_mixture, or name a dataset_test_split"
            )
        return
    if len(sources) == 1 and not held_out:
        names_here = {"id": "dataset_name", "config": "dataset_config", "split": "dataset_train_split"}
        draft.settings |= {names_here.get(key, key): value for key, value in sources[0].items()}
    elif sources:
        draft.settings["dataset_mixture"] = {"datasets": sources, **({"test_split_size": held_out} if held_out else {})}
        if held_out:
            draft.note("changed", "val_size", f": {held_out} -> dataset_mixture.test_split_size: {held_out}")


def _dataset_info(folder: str, path: Path) -> tuple[dict[str, Any], str]:
    """Its register of data sets and the folder of it, from the working directory or a folder of the recipe's file."""
    for base in (Path(), *list(path.absolute().parents)[:4]):
        file = base / folder / "dataset_info.json"
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8")), str(base / folder)
    return {}, folder


def _source(draft: Draft, name: str, entry: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """One registered data set as a source of ours."""
    local = entry.get("file_name")
    source: dict[str, Any] = {"id": entry.get("hf_hub_url") or (str(Path(folder, local)) if local else name)}
    for old, new in (("subset", "config"), ("split", "split")):
        if entry.get(old):
            source[new] = entry[old]
    columns = entry.get("columns") or {}
    renamed = {theirs: ours for ours, theirs in columns.items() if ours in _COLUMNS and theirs != ours}
    if renamed and (columns.get("chosen") or columns.get("messages")):
        source["column_map"] = renamed
    draft.note("changed", f"dataset {name}", f" -> {', '.join(f'{key}: {value}' for key, value in source.items())}")
    return source
