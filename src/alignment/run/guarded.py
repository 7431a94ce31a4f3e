"""The alarms of a run, and what logs the numbers that they need beyond the trainer's own."""

from __future__ import annotations

from accelerate import PartialState

from alignment.data import Splits
from alignment.methods import METHODS
from alignment.recipe import Recipe
from alignment.recipe.guards import alarm_settings
from alignment.recipe.warnings import Facts
from alignment.run.callbacks.alarms.watch import Alarms
from alignment.run.callbacks.rank_speed import RankSpeed
from alignment.run.callbacks.sampling import SampleAnswers, fixed_prompts
from alignment.run.callbacks.weight_change import WeightChange
from alignment.trainers.reporting import ReportingTrainer


def guarded(trainer: ReportingTrainer, recipe: Recipe, checked: Splits, facts: Facts) -> Alarms:
    """Give `trainer` its alarms.

    Args:
        trainer: gets the callbacks; the alarms come first, since the others log at the start.
        recipe: says what an alarm does, and how often answers are sampled.
        checked: rows as messages; a few prompts are taken of the evaluation's, or of training's where there is none.
        facts: what is known of them as tokens.
    """
    settings = alarm_settings(recipe.resolved)
    alarms = Alarms(
        trainer,
        METHODS[recipe.method],
        settings,
        chosen_tokens=facts.chosen_tokens if facts.pairs else facts.trained_tokens,
        repeats=(facts.rows or 1) / (facts.distinct_rows or 1),
    )
    trainer.add_callback(alarms)
    trainer.add_callback(WeightChange(trainer))
    if PartialState().num_processes > 1:
        trainer.add_callback(RankSpeed(trainer))
    if settings.sample_every is not None:
        prompts = fixed_prompts(checked.train if checked.test is None else checked.test)
        trainer.add_callback(SampleAnswers(trainer, trainer.processing_class, prompts, every=settings.sample_every))
    return alarms
