"""What transformers, PyTorch and TRL would refuse only after loading is refused by the recipe's own rules."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR

from alignment.errors import RecipeError
from alignment.recipe import Recipe, load_recipe
from alignment.recipe.schedule_relations import SCHEDULES

EVALUATED = {"eval_strategy": "steps", "eval_steps": 2}
BEST = {**EVALUATED, "save_strategy": "steps", "save_steps": 2, "load_best_model_at_end": True}


def load(folder: Path, method: str, changes: dict) -> Recipe:
    stated = {"method": method, "model_name_or_path": "a/b", "dataset_name": "a/b", "learning_rate": 1e-3, **changes}
    path = folder / "recipe.yaml"
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in stated.items()))
    return load_recipe(path)


def schedule(kind: str, **arguments: object) -> dict:
    return {"lr_scheduler_type": kind, "lr_scheduler_kwargs": arguments}


ANY_METHOD = [
    ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_kwargs must have either min_lr or min_lr_rate"),
    (schedule("cosine_with_min_lr", min_lr=1e-5, min_lr_rate=0.1), "must have either min_lr or min_lr_rate"),
    (schedule("cosine_with_min_lr", min_lr=None), "lr_scheduler_kwargs.min_lr must be a number, at least 0"),
    (schedule("cosine_with_min_lr", min_lr_rate=2), "lr_scheduler_kwargs.min_lr_rate 2 must be a number, at least 0"),
    (schedule("cosine", min_lr=1e-5), "min_lr 1e-05 is no argument of lr_scheduler_type cosine"),
    (schedule("cosine", num_cycle=1), "did you mean num_cycles?"),
    (schedule("cosine", num_cycles="x"), "lr_scheduler_kwargs.num_cycles x must be a number, above 0"),
    (schedule("cosine_with_restarts", num_cycles=0.5), "num_cycles 0.5 must be a whole number, at least 1"),
    (schedule("linear", last_epoch=3), "last_epoch 3 is no argument of lr_scheduler_type linear; remove it"),
    (schedule("constant", num_cycles=1), "constant takes none"),
    (schedule("polynomial", lr_end=1), "lr_scheduler_kwargs.lr_end 1 must be below learning_rate 0.001"),
    (schedule("polynomial", power=-1), "lr_scheduler_kwargs.power -1 must be a number, above 0"),
    (schedule("inverse_sqrt", timescale=0), "timescale 0 must be a whole number, at least 1"),
    ({"lr_scheduler_type": "warmup_stable_decay"}, "lr_scheduler_kwargs must have num_decay_steps"),
    (schedule("warmup_stable_decay", num_decay_steps=1, decay_type="x"), "must be one of linear, cosine, 1-sqrt"),
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "follows the evaluations, and eval_strategy is no"),
    ({"lr_scheduler_type": "greedy"}, "follows the evaluations, and eval_strategy is no"),
    ({**EVALUATED, **schedule("reduce_lr_on_plateau", factor=2)}, "factor 2 must be a number, above 0 and below 1"),
    ({"optim_args": "x"}, "optim_args x must be name=value pairs with commas"),
    ({"optim_args": "a=1=2"}, "must be name=value pairs"),
    ({"optim": "adamw_torch", "optim_args": "beta=1"}, "has beta, which is no argument of it; adamw_torch takes none"),
    ({"optim": "sgd", "optim_args": "momentum=x"}, "must give momentum a number"),
    ({"torch_compile_mode": "x", "packing": False}, "torch_compile_mode x must be one of default"),
    ({"torch_compile_backend": "x", "packing": False}, "torch_compile_backend x must be one of inductor"),
    ({"dataloader_persistent_workers": True}, "has no effect without dataloader_num_workers above 0"),
    ({"dataloader_prefetch_factor": 2}, "has no effect without dataloader_num_workers above 0"),
    ({"dataloader_num_workers": 1, "dataloader_prefetch_factor": 0}, "prefetch_factor 0 must be at least 1"),
    (
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"x": 1}},
        "gradient_checkpointing_kwargs.x 1 is no setting of recomputation",
    ),
    ({"torch_empty_cache_steps": 0}, "torch_empty_cache_steps 0 must be at least 1"),
    ({"debug": "x"}, "debug x must be one of underflow_overflow, tpu_metrics_debug"),
    ({**BEST, "save_steps": 3}, "save_steps 3 must be a multiple of eval_steps 2"),
    ({**BEST, "eval_steps": 0.3}, "save_steps 2 must be a multiple of eval_steps 0.3"),
    ({"save_strategy": "best"}, "save_strategy best saves what an evaluation finds best; state eval_strategy"),
    ({**EVALUATED, "save_strategy": "best"}, "state metric_for_best_model, such as loss"),
    ({"metric_for_best_model": "loss"}, "metric_for_best_model loss has no effect without evaluations"),
    ({"report_to": ["none", "wandb"]}, "must not name none with others"),
    ({"eval_on_start": True}, "eval_on_start True needs evaluations"),
    ({**BEST, "metric_for_best_model": "nope"}, "metric_for_best_model nope is none of the metrics of"),
]

ONE_METHOD = [
    ("simpo", {**BEST, "metric_for_best_model": "accuracy"}, "did you mean rewards/accuracies?"),
    ("simpo", {"torch_compile_backend": "eager"}, "would compile for every new length of a packed row"),
    ("sft", {**BEST, "metric_for_best_model": "eval_rewards/margins"}, "none of the metrics of sft; it gives loss"),
    ("dpo", {"f_divergence_type": "x"}, "f_divergence_type x must be one of reverse_kl"),
    (
        "dpo",
        {"f_divergence_type": "forward_kl", "loss_type": ["nca_pair"]},
        "cannot be combined with loss_type nca",
    ),
    ("dpo", {"loss_type": []}, "loss_type [] must name at least one loss"),
    ("dpo", {"loss_type": ["sigmoid", "sigmoid"]}, "must name sigmoid once"),
    ("dpo", {"loss_type": ["exo_pair"]}, "label_smoothing 0.0 must be above 0 with loss_type exo_pair"),
    ("dpo", {"loss_type": ["aot"], "use_weighting": True}, "use_weighting True contradicts loss_type aot"),
    ("dpo", {"loss_type": ["sft", "ipo"], "loss_weights": [1, -1]}, "loss_weights[1] -1.0 must be at least 0"),
    ("dpo", {"sync_ref_model": True, "use_peft": True}, "sync_ref_model True contradicts use_peft: true"),
    ("dpo", {"sync_ref_model": True, "precompute_ref_log_probs": True}, "contradicts precompute_ref_log_probs: true"),
    ("dpo", {"sync_ref_model": True, "ref_model_sync_steps": 0}, "ref_model_sync_steps 0 must be at least 1"),
    ("dpo", {"padding_free": True}, "padding_free True is not available for dpo"),
    ("dpo", {"pad_to_multiple_of": 0}, "pad_to_multiple_of 0 must be at least 1"),
    ("dpo", {"pad_to_multiple_of": "x"}, "pad_to_multiple_of x must be one of auto"),
    ("dpo", {"max_length": 1024, "pad_to_multiple_of": 2048}, "2048 must not be above max_length 1024"),
    ("dpo", {"train_sampling_strategy": "group_by_length"}, "is not available for dpo, whose rows have two lengths"),
    ("dpo", {"activation_offloading": True, "use_cpu": True}, "moves activations from a GPU to the host"),
    ("dpo", {"ld_alpha": 7}, "ld_alpha 7 must be at least 0 and at most 1"),
    ("sft", {"activation_offloading": True, "use_cpu": True}, "moves activations from a GPU to the host"),
    ("sft", {"packing": True, "max_length": None}, "max_length null must be a number with packing: true"),
    ("sft", {"padding_free": True}, "would not keep to max_length without packing: true"),
    ("sft", {"router_aux_loss_coef": -1}, "router_aux_loss_coef -1 must be at least 0"),
]


@pytest.mark.parametrize("method", ["simpo", "dpo", "sft"])
@pytest.mark.parametrize(("changes", "fragment"), ANY_METHOD)
def test_refused_for_every_method(tmp_path, method, changes, fragment):
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, method, changes)
    assert fragment in str(caught.value)


@pytest.mark.parametrize(("method", "changes", "fragment"), ONE_METHOD)
def test_refused_for_one_method(tmp_path, method, changes, fragment):
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, method, changes)
    assert fragment in str(caught.value)
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("simpo", schedule("cosine_with_min_lr", min_lr_rate=0.1)),
        ("simpo", schedule("warmup_stable_decay", num_decay_steps=10, decay_type="1-sqrt", min_lr_ratio=0)),
        ("simpo", {**EVALUATED, **schedule("reduce_lr_on_plateau", factor=0.5, mode="min")}),
        ("simpo", {"optim": "sgd", "optim_args": "momentum=0.9, nesterov=true"}),
        ("simpo", {**BEST, "metric_for_best_model": "eval_rewards/accuracies"}),
        ("simpo", {**BEST, "save_steps": 4, "metric_for_best_model": "eval_runtime"}),
        ("simpo", {**BEST, "save_steps": 0.2, "eval_steps": 0.1}),
        ("dpo", {"loss_type": "exo_pair", "label_smoothing": 1e-3}),
        ("dpo", {"pad_to_multiple_of": 64}),
        ("dpo", {"pad_to_multiple_of": None}),
        ("sft", {"padding_free": True, "max_length": None}),
    ],
)
def test_accepted(tmp_path, method, changes):
    assert load(tmp_path, method, changes).method == method


def test_a_whole_number_reaches_the_optimizer_as_a_floating_point_one(tmp_path):
    config = load(tmp_path, "simpo", {"adam_beta1": 0, "use_cpu": True}).config(world_size=1)
    assert isinstance(config.adam_beta1, float)


def test_activations_stay_where_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr("alignment.recipe.recipe._has_accelerator", lambda: False)
    with pytest.raises(RecipeError, match="this machine has no GPU"):
        load(tmp_path, "dpo", {"activation_offloading": True}).config(world_size=1)


def test_the_arguments_of_schedules_are_those_of_the_installed_transformers():
    """All but what the Trainer gives itself, a lambda's, and `last_epoch`, which is for resuming."""
    ours = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch", "self"}
    for kind, function in TYPE_TO_SCHEDULER_FUNCTION.items():
        source = {"reduce_lr_on_plateau": ReduceLROnPlateau, "greedy": GreedyLR}.get(kind.value, function)
        assert set(SCHEDULES[kind.value]) == set(inspect.signature(source).parameters) - ours, kind
