"""Keys that people bring from elsewhere, and what to write here instead.

`MOVED` holds former and foreign names of something a recipe can say, unless the row of its method has a key of that
name. `NOT_HERE` holds settings that exist but are decided in another place, so that there is one way to say each thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from alignment.errors import Fault, did_you_mean
from alignment.methods import METHODS

_CHECKPOINTING = "write gradient_checkpointing; it is translated for the transformers at hand"


def _listed(names: Iterable[str], word: str) -> str:
    return f" {word} ".join(", ".join(names).rsplit(", ", 1))


_METHOD = f"write method: {_listed(METHODS, 'or')}"

MOVED: Mapping[str, str] = {
    "torch_dtype": "write dtype",
    "evaluation_strategy": "write eval_strategy",
    "use_flash_attention_2": "write attn_implementation: flash_attention_2",
    "dataset_mixer": "write dataset_mixture with a list of datasets, each with id, split and weight",
    "dataset_splits": "write dataset_train_split and dataset_test_split",
    "dataset_configs": "write dataset_config",
    "dataset_path": "write dataset_name; it takes a Hub id or a local file or folder",
    "data_path": "write dataset_name; it takes a Hub id or a local file or folder",
    "preprocessing_num_workers": "write dataset_num_proc",
    "gamma": "write gamma_beta_ratio: gamma divided by beta (gamma = gamma_beta_ratio * beta)",
    "simpo_gamma": "write gamma_beta_ratio: gamma divided by beta (gamma = gamma_beta_ratio * beta)",
    "gamma_ratio": "write gamma_beta_ratio",
    "cpo_alpha": "write sft_weight, the weight of the cross-entropy over the chosen answer",
    "rpo_alpha": "write sft_weight, the weight of the cross-entropy over the chosen answer",
    "max_seq_length": "write max_length",
    "max_completion_length": "write max_prompt_length; what it leaves of max_length is the completion's",
    "max_target_length": "write max_prompt_length; what it leaves of max_length is the completion's",
    "total_batch_size": "write global_batch_size, the pairs of one optimizer step",
    "train_batch_size": "write global_batch_size, the pairs of one optimizer step",
    "batch_size": "write global_batch_size, the pairs of one optimizer step",
    "per_gpu_train_batch_size": "write per_device_train_batch_size, or global_batch_size alone",
    "lr": "write learning_rate",
    "epochs": "write num_train_epochs",
    "lr_scheduler": "write lr_scheduler_type",
    "optimizer": "write optim",
    "gradient_clipping": "write max_grad_norm; 0 switches clipping off",
    "activation_checkpointing": _CHECKPOINTING,
    "activation_checkpointing_kwargs": "write gradient_checkpointing_kwargs",
    "base_model": "write model_name_or_path",
    "model_name": "write model_name_or_path",
    "model_code_revision": "write model_revision",
    "hub_model_revision": "write hub_revision",
    "trainer_type": _METHOD,
    "trainer_class_name": _METHOD,
    "loss": "write loss_type",
    "lora_rank": "write lora_r",
    "use_lora": "write use_peft",
    "no_cuda": "write use_cpu",
    "pack": "write packing",
}

NOT_HERE: Mapping[str, str] = {
    "hub_token": "a recipe is published with the model; set the HF_TOKEN environment variable or run `hf auth login`",
    "deepspeed": "choose it at launch: `make train ACCELERATE=zero3`, or accelerate launch --config_file",
    "fsdp": "choose it at launch: `make train ACCELERATE=fsdp2`, or accelerate launch --config_file",
    "fsdp_config": "choose it at launch: `make train ACCELERATE=fsdp2`, or accelerate launch --config_file",
    "parallelism_config": "choose it at launch with a file of configs/accelerate",
    "local_rank": "the launcher sets it",
    "auto_find_batch_size": "it would change the batch behind global_batch_size; state per_device_train_batch_size",
    "model_init_kwargs": "write dtype, attn_implementation, model_revision and the like as keys of their own",
    "chat_template_path": "write chat_template",
    "eos_token": "the chat template and the model's generation config say where an answer ends",
    "pad_token": "it is chosen with the tokenizer",
    "push_to_hub_model_id": "write hub_model_id",
    "push_to_hub_token": "set the HF_TOKEN environment variable",
    "resume_from_checkpoint": "remove it: the same command goes on from the last checkpoint of output_dir",
    "save_only_model": "remove it: a checkpoint without optimizer states could not be continued",
    "accelerator_config": "remove it: which pairs make a step and who computes them is decided by global_batch_size",
    "save_safetensors": "remove it: weights are always saved as safetensors",
    "logging_dir": "remove it: logs go to output_dir",
    "system_prompt": "put a system message into the rows, or into the chat template",
    "auto_insert_empty_system_msg": "remove it: the chat template says what an absent system message becomes",
    "wandb_project": "set the WANDB_PROJECT environment variable",
    "wandb_entity": "set the WANDB_ENTITY environment variable",
    "wandb_run_group": "set the WANDB_RUN_GROUP environment variable",
    "callbacks": "remove it: the callbacks of a run are fixed",
    "benchmarks": "evaluate the finished model instead",
    "extends": "it belongs into the file, not on the command line",
}


def unknown_key(key: str, value: object, *, method: str | None, known: Iterable[str], owners: Iterable[str]) -> Fault:
    """The fault of a top-level key that `method` has not. `owners` are the other methods that have it."""
    known = list(known)
    if key in NOT_HERE:
        return Fault(key=key, value=value, rule="is not set in a recipe", remedy=NOT_HERE[key])
    if key in MOVED:
        return Fault(key=key, rule="is not a recipe key", remedy=MOVED[key])
    if key == "label_smoothing_factor":
        return Fault(
            key=key, rule="has no effect on a preference loss", remedy="write label_smoothing, if the method has it"
        )
    owners = list(owners)
    if owners:
        rule = f"belongs to {_listed(owners, 'and')}; this recipe's method is {method}"
        return Fault(key=key, value=value, rule=rule, remedy="remove it, or change method")
    positive = key.removeprefix("no_")
    if positive != key and positive in known:
        return Fault(key=key, rule="is not a recipe key", remedy=f"write {positive}: false")
    remedy = did_you_mean(key, known) or "remove it, or see recipes/gemma2-simpo/config.yaml for what there is"
    return Fault(key=key, rule="is not a recipe key", remedy=remedy)
