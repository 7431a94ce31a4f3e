"""All alarms by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alignment.run.callbacks.alarms.below_chance import BelowChance
from alignment.run.callbacks.alarms.chosen_falls import ChosenFalls
from alignment.run.callbacks.alarms.constant_loss import ConstantLoss
from alignment.run.callbacks.alarms.detector import Course, Detector
from alignment.run.callbacks.alarms.gradient_spike import GradientSpike
from alignment.run.callbacks.alarms.lagging_rank import LaggingRank
from alignment.run.callbacks.alarms.length_drift import LengthDrift
from alignment.run.callbacks.alarms.loss_spike import LossSpike
from alignment.run.callbacks.alarms.margins_without_accuracy import MarginsWithoutAccuracy
from alignment.run.callbacks.alarms.no_movement import NoMovement
from alignment.run.callbacks.alarms.overfitting import Overfitting
from alignment.run.callbacks.alarms.rejected_falls import RejectedFalls
from alignment.run.callbacks.alarms.repetition import Repetition
from alignment.run.callbacks.alarms.throughput_drop import ThroughputDrop

DETECTORS: Mapping[str, Callable[[Course], Detector]] = {
    "loss-spike": LossSpike,
    "gradient-spike": GradientSpike,
    "constant-loss": ConstantLoss,
    "no-movement": NoMovement,
    "chosen-falls": ChosenFalls,
    "rejected-falls": RejectedFalls,
    "margins-without-accuracy": MarginsWithoutAccuracy,
    "below-chance": BelowChance,
    "overfitting": Overfitting,
    "length-drift": LengthDrift,
    "repetition": Repetition,
    "throughput-drop": ThroughputDrop,
    "lagging-rank": LaggingRank,
}
"""Its keys are `alignment.recipe.guards.ALARM_NAMES`."""
