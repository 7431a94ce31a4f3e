"""TRL: the options of its scripts for SFT, DPO, CPO, ORPO and reward models, on a command line or in YAML."""

from __future__ import annotations

from typing import Any

from alignment.recipe.convert.draft import Draft, Drop, Lost, Table, To
from alignment.recipe.convert.preference import finish, margin, refuse, supervised
from alignment.recipe.convert.source import Source

TITLE = "TRL"
MARKS = ("torch_dtype", "dtype", "dataset_name", "dataset_train_split", "cpo_alpha", "simpo_gamma", "use_peft")
NEEDED = ("model_name_or_path",)

_TRAINER = "the trainer here decides it by itself"
_DATA = "how rows become tokens follows from the method and the chat template"
TABLE: Table = {
    "torch_dtype": To("dtype"),
    "preprocessing_num_workers": To("dataset_num_proc"),
    "evaluation_strategy": To("eval_strategy"),
    "max_seq_length": To("max_length"),
    "hub_model_revision": To("hub_revision"),
    "model_code_revision": To("model_revision"),
    "lora_target": To("lora_target_modules"),
    "overwrite_output_dir": Drop(
        "a run that was interrupted goes on, and a finished one is not trained over by chance"
    ),
    "do_train": Drop("make train trains"),
    "dataset_kwargs": Drop(_DATA),
    "dataset_text_field": Drop(_DATA),
    "dataset_batch_size": Drop(_DATA),
    "remove_unused_columns": Drop(_DATA),
    "label_pad_token_id": Drop(_TRAINER),
    "padding_value": Drop(_TRAINER),
    "is_encoder_decoder": Drop(_TRAINER),
    "use_logits_to_keep": Drop(_TRAINER),
    "use_num_logits_to_keep": Drop(_TRAINER),
    "ignore_bias_buffers": Drop(_TRAINER),
    "force_use_ref_model": Drop(_TRAINER),
    "rpo_alpha_normalized": Drop(_TRAINER),
    "half_precision_backend": Drop(_TRAINER),
    "use_liger_loss": Drop("the output layer is computed in chunks here, which saves that memory, too"),
    "generate_during_eval": Drop("sample_evaluation draws answers before and after training"),
    "sanity_check": Drop("max_train_samples trains on the first rows only"),
    "dataset_streaming": Lost("rows are checked before training, so they are all read"),
    "reference_free": Lost("without a reference model it is another objective; method: simpo has none"),
    "model_adapter_name": Lost("the reference of adapters is the model without them"),
    "ref_adapter_name": Lost("the reference of adapters is the model without them"),
    "tools": Lost("tools stand in the rows or in the chat template"),
    "use_unsloth": Lost("kernels of that library are not used here"),
    "attn_implementation_kwargs": Drop(_TRAINER),
}
_REFERENCE_FREE = {
    "learning_rate": 1e-6,
    "num_train_epochs": 3,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.0,
    "max_length": 1024,
    "generation_prompt": "prompt",
}
_MORE = {"bf16": True}
DEFAULTS: dict[str, dict[str, Any]] = {
    "sft": _MORE,
    "dpo": _MORE,
    "reward": _MORE,
    "orpo": {**_REFERENCE_FREE, "beta": 0.1, **_MORE},
    "simpo": {**_REFERENCE_FREE, **_MORE},
    "alphapo": {**_REFERENCE_FREE, **_MORE},
}
"""Where its defaults differ from ours."""


_SFT_ALONE = {"max_seq_length", "dataset_text_field", "dataset_kwargs", "assistant_only_loss", "completion_only_loss"}


def convert(source: Source) -> Draft:
    """The draft of a TRL script's options."""
    method = method_of(source)
    draft = Draft(method, source.settings)
    objective(draft, defaults=True)
    common(draft)
    return finish(draft, TABLE, DEFAULTS[draft.method], "what TRL does when it is not said")


def method_of(source: Source) -> str:
    """What is trained, by the keys of one method alone, else by the nearest name around them.

    Raises:
        RecipeError: KTO, GRPO, or CPO with a loss of its own.
    """
    stated = source.settings
    loss = str(stated.get("loss_type", ""))
    if loss == "alphapo" or ("simpo_gamma" in stated and stated.get("alpha")):
        return "alphapo"
    if "gamma_beta_ratio" in stated or "simpo_gamma" in stated or loss == "simpo":
        return "simpo"
    if "cpo_alpha" in stated:
        raise refuse("cpo", "loss_type")
    if stated.keys() & _SFT_ALONE:
        return "sft"
    places = (*source.words, *(str(stated.get(key, "")) for key in ("output_dir", "hub_model_id")), source.comments)
    for place in places:
        for name in ("simpo", "orpo", "dpo", "cpo", "kto", "grpo", "ppo", "reward", "sft"):
            if name in place.lower():
                return _named(name)
    return "dpo" if "beta" in stated or "max_prompt_length" in stated else "sft"


def _named(name: str) -> str:
    """The method that a script or a folder is named after."""
    if name in ("cpo", "kto", "grpo", "ppo"):
        raise refuse(name, "method")
    return name


def objective(draft: Draft, *, defaults: bool) -> None:
    """Beta, margin and supervised term; of TRL's CPO trainer when `defaults` says that its defaults hold."""
    if draft.left.get("beta") is not None:
        draft.settings["beta"] = draft.take("beta")
    loss = draft.take("loss_type")
    if draft.method in ("simpo", "alphapo") and loss in ("simpo", "alphapo"):
        draft.note("changed", "loss_type", f": {loss} -> method: {draft.method}")
    elif loss == "kto_pair":
        draft.settings["loss_type"] = loss
        draft.note(
            "not carried",
            "loss_type",
            ": kto_pair (no trainer has it any more; apo_zero comes near: write loss_type: apo_zero)",
        )
    elif loss is not None:
        draft.settings["loss_type"] = loss
    if draft.method in ("simpo", "alphapo") and "gamma_beta_ratio" not in draft.left and defaults:
        margin(draft, key="simpo_gamma", default=0.5, beta=0.1)
        supervised(draft, key="cpo_alpha", default=1.0)
    supervised(draft, key="rpo_alpha")
    if draft.method in ("dpo", "sft", "reward") and draft.left.get("max_prompt_length") is not None:
        draft.drop("max_prompt_length", draft.take("max_prompt_length"), "a pair is cut at max_length alone")
    for key in ("max_completion_length", "max_target_length"):
        if draft.left.get(key) is not None:
            draft.drop(key, draft.take(key), "what max_prompt_length leaves of max_length is the completion's")


def common(draft: Draft) -> None:
    """Switches whose value decides what they become."""
    if (flash := draft.take("use_flash_attention_2")) is not None:
        if flash:
            draft.change("use_flash_attention_2", flash, {"attn_implementation": "flash_attention_2"})
        else:
            draft.drop("use_flash_attention_2", flash, "the model's own attention is the default")
    if (grouped := draft.take("group_by_length")) is not None:
        if grouped and draft.method in ("sft", "reward"):
            draft.change("group_by_length", grouped, {"train_sampling_strategy": "group_by_length"})
        else:
            draft.drop("group_by_length", grouped, "rows are shuffled, and packing leaves no padding")
    if draft.method != "sft" and (packing := draft.take("padding_free")) is not None:
        draft.drop("padding_free", packing, "packing: true, the default, computes without padding")
    if draft.method == "sft" and not draft.left.get("assistant_only_loss"):
        draft.note("changed", "loss", ": there on every token of a conversation, here on the assistant's turns alone")
    if draft.settings.get("bf16") is None and draft.left.get("fp16"):
        draft.settings["bf16"] = False
