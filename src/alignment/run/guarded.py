"""The alarms of a run, and what logs the numbers that they need beyond the trainer's own."""

from __future__ import annotations

from accelerate import PartialState

from alignment.data import Splits, TokenSplits
from alignment.methods import METHODS
from alignment.recipe import Recipe
from alignment.recipe.guards import alarm_settings
from alignment.run.callbacks.alarms.watch import Alarms
from alignment.run.callbacks.rank_speed import RankSpeed
from alignment.run.callbacks.sampling import SampleAnswers, fixed_prompts
from alignment.run.callbacks.weight_change import WeightChange
from alignment.trainers.reporting import ReportingTrainer


def guarded(trainer: ReportingTrainer, recipe: Recipe, checked: Splits, splits: TokenSplits) -> Alarms:
    """Give `trainer` its alarms.

    Args:
        trainer: gets the callbacks; the alarms come first, since the others log at the start.
        recipe: says what an alarm does, and how often answers are sampled.
        checked: rows as messages; a few prompts are taken of the evaluation's, or of training's where there is none.
        splits: the same rows as tokens.
    """
    settings = alarm_settings(recipe.resolved)
    alarms = Alarms(trainer, METHODS[recipe.method], settings, chosen_tokens=mean_answer(splits))
    trainer.add_callback(alarms)
    trainer.add_callback(WeightChange(trainer))
    if PartialState().num_processes > 1:
        trainer.add_callback(RankSpeed(trainer))
    if settings.sample_every is not None:
        prompts = fixed_prompts(checked.train if checked.test is None else checked.test)
        trainer.add_callback(SampleAnswers(trainer, trainer.processing_class, prompts, every=settings.sample_every))
    return alarms


def mean_answer(splits: TokenSplits) -> float | None:
    """Mean tokens of the preferred answers, or of all that are trained in a conversation."""
    statistics = splits.prepared["train"].statistics
    lengths = {} if statistics is None else statistics.lengths
    return next((lengths[name]["mean"] for name in ("chosen", "trained") if name in lengths), None)
