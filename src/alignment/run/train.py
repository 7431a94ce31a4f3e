"""The life of a training run, in order."""

from __future__ import annotations

import dataclasses
import os
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accelerate import PartialState
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from alignment.data import load_dataset_splits, prepare_splits
from alignment.evaluation.before_after import compare
from alignment.evaluation.measure import Measurement, measure
from alignment.files import cache_root, write_json
from alignment.hub.account import check_destination
from alignment.methods import METHODS
from alignment.modeling.adapter_targets import check_targets
from alignment.modeling.load import as_saved, load_policy, load_tokenizer
from alignment.modeling.loading_errors import told as told_of_model
from alignment.modeling.peft import lora_config
from alignment.modeling.precision import compute_dtype
from alignment.output.final_save import plain_loading, save_final, save_settings
from alignment.output.folder import CARD, CURVES, IDENTITY, RunFolder
from alignment.planning.disk import check_room
from alignment.publish.finished import destination_of, publish_finished
from alignment.recipe import ModelArguments, Recipe
from alignment.recipe.guards import alarm_settings
from alignment.recipe.saving import SAVE_EVERY_MINUTES
from alignment.report.final_report import UNTIMED, report
from alignment.run.callbacks.alarms.stop import StoppedByAlarm, refuse_stopped
from alignment.run.callbacks.movement import NothingTrained, WeightsMove
from alignment.run.callbacks.progress import show_progress
from alignment.run.callbacks.sealing import SealCheckpoints
from alignment.run.callbacks.tracking import RecipeTracking, link_model
from alignment.run.claimed import claimed_by_all, identity_of_run
from alignment.run.extensions import build_extensions
from alignment.run.failure import Journal, told
from alignment.run.guarded import guarded
from alignment.run.packages import check_packages
from alignment.run.training import optimizer_steps, save_results, train
from alignment.run.warned import facts_of_run, warn
from alignment.trainers.reporting import ReportingTrainer
from alignment.trainers.sharding import check_resumable, check_sharded


def run(recipe: Recipe) -> Path:
    """Train `recipe` to a finished folder, going on from the last checkpoint if there is one.

    Returns the output folder.

    Raises:
        UserError: whatever the user can mend, and whatever a library raises before the first step.
        RunFailed: what a library raises after it.
    """
    with told(Journal(Path(recipe.training["output_dir"]), recipe.resolved)) as journal:
        return train_and_report(recipe, journal)


def train_and_report(recipe: Recipe, journal: Journal) -> Path:
    """`run`, noting in `journal` what is being done."""
    started = time.time()
    journal.doing("reading the training arguments")
    check_packages(recipe.resolved)
    config = recipe.config(world_size=int(os.environ.get("WORLD_SIZE", 1)))
    state = PartialState()  # set up by `config`, on the device and backend that the recipe asks for
    config._n_gpu = min(config.n_gpu, 1)  # one process drives one device; several devices need a launcher
    if config.deepspeed_plugin is not None:
        journal.doing("building DeepSpeed's extensions (choose another ACCELERATE= to do without)")
        build_extensions(optimizer_on_cpu=config.deepspeed_plugin.offload_optimizer_device == "cpu")
    if config.ddp_find_unused_parameters is None:
        config.ddp_find_unused_parameters = False  # every trained parameter takes part in every step
    publish_after, config.push_to_hub = config.push_to_hub, False  # one verified upload at the end, not the Trainer's

    journal.doing("taking the output folder", "output_dir")
    with claimed_by_all(recipe, config) as folder:
        for told_of_folder in folder.told:
            state.print(told_of_folder)
        if folder.resume_from:
            journal.doing(f"reading {folder.resume_from}")
            check_resumable(folder.resume_from, config)
            refuse_stopped(folder.path, alarm_settings(recipe.resolved))
        if publish_after and state.is_main_process:
            check_destination(destination_of(recipe))
        method = METHODS[recipe.method]
        journal.doing("loading the tokenizer", "tokenizer_name_or_path", "model_name_or_path")
        tokenizer = load_tokenizer(recipe.model, chat_template=recipe.data.chat_template)
        journal.doing("loading the data", "dataset_mixture", "dataset_name")
        # The process that comes first prepares the data; the others wait for its lock, in no collective operation.
        checked = load_dataset_splits(recipe.data, kind=method.data, cache=cache_root())
        identity = identity_of_run(recipe, tokenizer, checked)
        folder.check_identity(identity)
        if folder.finished:
            state.print(f"{folder.path} holds this recipe's finished run; overwrite_output_dir: true trains it anew.")
            if publish_after and state.is_main_process:
                publish_and_link(recipe)
            return folder.path
        if state.is_main_process:
            write_json(folder.path / IDENTITY, identity)
        journal.doing("tokenizing the rows", "chat_template", "max_length")
        splits = prepare_splits(
            checked,
            tokenizer,
            method.token_rules(partial(getattr, config)),
            on_bad_row=recipe.data.on_bad_row,
            num_proc=recipe.data.dataset_num_proc,
            cache=cache_root(),
        )
        state.print(*splits.told, sep="\n")
        facts = facts_of_run(recipe, config, tokenizer, splits)
        warnings = warn(recipe, facts) if state.is_main_process else []
        journal.doing("measuring the model before training", "sample_evaluation", "model_name_or_path")
        before = measured(recipe, recipe.model, tokenizer, "Before training")

        set_seed(config.seed)  # adapters are initialized before the Trainer seeds
        journal.doing("loading the model", "model_name_or_path")
        policy = load_policy(recipe.model, scores=method.reward_model)
        adapters = lora_config(recipe.model, scores=method.reward_model)
        check_targets(policy, adapters)
        journal.doing("preparing the trainer")
        trainer = method.trainer_class()(
            model=policy,
            args=config,
            train_dataset=splits.train,
            eval_dataset=splits.test,
            processing_class=tokenizer,
            peft_config=adapters,
        )
        show_progress(trainer)
        alarms = guarded(trainer, recipe, checked, facts)
        tracking = RecipeTracking(recipe.resolved)
        trainer.add_callback(tracking)
        trainer.add_callback(WeightsMove())
        check_sharded(trainer.accelerator)
        every = recipe.resolved.get(SAVE_EVERY_MINUTES)
        check_room(folder.path, trainer.model, trainer.args, steps=optimizer_steps(trainer), by_time=every is not None)
        trainer.add_callback(SealCheckpoints(trainer.args, identity))
        journal.doing("trying the final save and the report", "chat_template", "model_name_or_path")
        if state.is_main_process:
            try_the_end(recipe, policy, trainer, splits, folder)
        if folder.resume_from:
            state.print(f"Continuing from {folder.resume_from}.")
        journal.doing("training")
        begun = int(folder.resume_from.name.rpartition("-")[2]) if folder.resume_from else 0
        journal.stepped = lambda: trainer.state.global_step > begun
        try:
            timing = train(trainer, alarms, resume_from=folder.resume_from, save_every_minutes=every)
        except (StoppedByAlarm, NothingTrained):
            if state.is_main_process:
                save_results(trainer)
                guards = {"warnings": warnings, "alarms": alarms.raised, "stopped_by": alarms.stopped_by}
                report(recipe, trainer, splits, folder, UNTIMED, tracking.links, guards, finished=False)
            raise
        journal.doing(f"saving the model to {folder.path}")
        state.print(f"Saving the model to {folder.path} ...")
        save_final(trainer, tokenizer, folder.path, arguments=recipe.model, scores=method.reward_model)
        journal.doing(f"measuring and reporting the trained model, saved in {folder.path}", "sample_evaluation")
        after = measured(recipe, as_saved(recipe.model, str(folder.path)), tokenizer, "After training")
        if state.is_main_process:
            if recipe.sample_evaluation is not None and before is not None and after is not None:
                compare(before, after, recipe.sample_evaluation, folder=folder.path)
            timing = {
                "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
                **timing,
                "wall_seconds": round(time.time() - started, 1),
            }
            guards = {"warnings": warnings, "alarms": alarms.raised}
            report(recipe, trainer, splits, folder, timing, tracking.links, guards)
            print(f"\nDone. The model is in {folder.path}, its curves in {CURVES}, its card in {CARD}.")
        state.wait_for_everyone()
        if publish_after and state.is_main_process:
            publish_and_link(recipe)
    return folder.path


def publish_and_link(recipe: Recipe) -> None:
    """Publish the finished run, and tell its trackers where the model is."""
    receipt = publish_finished(recipe)
    link_model(recipe.training.get("report_to") or (), receipt.url)


def measured(
    recipe: Recipe, model: ModelArguments, tokenizer: PreTrainedTokenizerBase, label: str
) -> Measurement | None:
    """What the recipe's `sample_evaluation` says of `model`, measured by the main process on a model of its own.

    Reloading the trained model from its folder also shows that the folder can be loaded.
    """
    result = None
    if recipe.sample_evaluation is not None and PartialState().is_main_process:
        with plain_loading():  # generating under ZeRO-3 would wait for the other ranks, too
            policy = load_policy(model).to(PartialState().device)
            result = measure(policy, tokenizer, recipe.sample_evaluation, label=label)
    PartialState().wait_for_everyone()
    return result


def try_the_end(
    recipe: Recipe,
    policy: PreTrainedModel,
    trainer: ReportingTrainer,
    splits: Any,
    folder: RunFolder,
) -> None:
    """Write what goes with the weights, and the report, into a folder that is thrown away: no fault waits for the end.

    Raises:
        SetupError: generation settings, configuration or tokenizer cannot be saved.
    """
    name = recipe.model.model_name_or_path
    with TemporaryDirectory() as scratch:
        with told_of_model(name, file="generation_config.json, config.json or its tokenizer"):
            save_settings(
                policy, trainer.processing_class, Path(scratch), dtype=compute_dtype(trainer.args, trainer.model)
            )
        report(recipe, trainer, splits, dataclasses.replace(folder, path=Path(scratch)), UNTIMED, links={}, guards={})
