"""Each alarm over logs worked out by hand: what raises it, from which step on, and what does not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from alignment.methods import METHODS
from alignment.recipe.guards import ALARM_NAMES
from alignment.run.callbacks.alarms.below_chance import below_one_half
from alignment.run.callbacks.alarms.detector import Course, Finding
from alignment.run.callbacks.alarms.statistics import rise, spread
from alignment.run.callbacks.alarms.table import DETECTORS

SIMPO = Course(
    method=METHODS["simpo"], steps=100, batch=8, anchored=False, beta=2.0, chosen_tokens=20.0, evaluation_rows=100
)
DPO = replace(SIMPO, method=METHODS["dpo"], beta=0.1)
SFT = replace(SIMPO, method=METHODS["sft"], anchored=True, beta=0.0)
UNEVEN = (0.9, 1.1, 1.0, 0.8, 1.2)


def noisy(level: float, at: int) -> float:
    """`level` times 0.8 to 1.2, with a mean of `level` over five."""
    return level * UNEVEN[at % 5]


def raised(name: str, logs: Iterable[Mapping[str, float]], course: Course = SIMPO) -> tuple[int, Finding] | None:
    """The step at which the alarm is raised, and what it says."""
    detector = DETECTORS[name](course)
    for step, log in enumerate(logs, start=1):
        if (finding := detector.see({"step": step, **log})) is not None:
            return int({"step": step, **log}["step"]), finding
    return None


def test_every_alarm_is_a_key_of_a_recipe() -> None:
    assert tuple(DETECTORS) == ALARM_NAMES


def test_statistics_by_hand() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 100.0]) == pytest.approx(1.4826)  # |x - 3|: 2 1 0 1 97, median 1
    # means 2 and 5, both with variance 1 over three values: error sqrt(1/3 + 1/3)
    assert rise([1, 2, 3], [4, 5, 6]) == pytest.approx(3 / math.sqrt(2 / 3))
    assert (rise([1, 1], [1, 1]), rise([1, 1], [2, 2])) == (0, math.inf)
    assert below_one_half(0.4, 400) == pytest.approx(4.0)  # a coin's share has a deviation of 0.5 / 20


class TestSpikes:
    def test_a_loss_that_jumps_and_stays(self) -> None:
        losses = [*(noisy(0.6, at) for at in range(20)), 2.5, 2.7, 2.6]
        step, finding = raised("loss-spike", ({"loss": loss} for loss in losses))
        assert (step, finding.since) == (22, 21)
        assert "the loss is 2.7 after a median of 0.6" in str(finding)

    def test_one_hard_batch_of_few_rows_is_no_spike(self) -> None:
        losses = [*(noisy(0.6, at) for at in range(20)), 2.5, *(noisy(0.6, at) for at in range(20))]
        assert raised("loss-spike", ({"loss": loss} for loss in losses)) is None

    def test_one_log_of_many_rows_is_enough(self) -> None:
        losses = [*(noisy(0.6, at) for at in range(20)), 2.5]
        step, _ = raised("loss-spike", ({"loss": loss} for loss in losses), replace(SIMPO, batch=128))
        assert step == 21

    def test_a_small_loss_that_becomes_an_ordinary_one_is_no_spike(self) -> None:
        losses = [0.69, 0.68, 0.7, *(0.01 for _ in range(20)), 0.3, 0.4, 0.3]
        assert raised("loss-spike", ({"loss": loss} for loss in losses)) is None

    def test_a_loss_that_ends_above_its_beginning(self) -> None:
        losses = [noisy(0.69, at) for at in range(10)] + [noisy(1.4, at) for at in range(10)]
        step, finding = raised("loss-spike", ({"loss": loss} for loss in losses))
        assert (step, finding.since) == (14, 10)  # 0.828 and four of 1.4: 1.23 on average, 1.78 times 0.69
        assert "1.23 on average, above the 0.69" in str(finding)

    def test_a_gradient_that_jumps(self) -> None:
        norms = [*(noisy(2.0, at) for at in range(10)), 30.0, 40.0]
        step, finding = raised("gradient-spike", ({"grad_norm": norm} for norm in norms))
        assert (step, finding.since) == (12, 11)
        fading = [2.0, 2.0, 2.0, *(0.01 for _ in range(10)), 1.0, 1.0]  # 100 times the median, half of the beginning
        assert raised("gradient-spike", ({"grad_norm": norm} for norm in fading)) is None


class TestConstantLoss:
    def test_ten_equal_losses(self) -> None:
        step, finding = raised("constant-loss", [{"loss": 0.9}, *({"loss": 0.6931472} for _ in range(10))])
        assert (step, finding.since) == (11, 2)

    def test_nine_are_not_enough(self) -> None:
        logs = [*({"loss": 0.5} for _ in range(9)), {"loss": 0.50001}, *({"loss": 0.5} for _ in range(9))]
        assert raised("constant-loss", logs) is None

    def test_a_loss_of_zero_has_nothing_left_to_learn(self) -> None:
        _, finding = raised("constant-loss", ({"loss": 0.0} for _ in range(10)))
        assert "nothing more to learn" in str(finding)


class TestNoMovement:
    def test_weights_that_stay(self) -> None:
        logs = [{"weights/relative_change": 1e-7} for _ in range(100)]
        step, finding = raised("no-movement", logs)
        assert step == 50 and "1e-07 of themselves" in str(finding)
        assert raised("no-movement", [{"weights/relative_change": 2e-5}] * 100) is None

    def test_adapters_have_further_to_go(self) -> None:
        logs = [{"weights/relative_change": 1e-4}] * 100
        assert raised("no-movement", logs) is None
        assert raised("no-movement", logs, replace(SIMPO, adapters=True))[0] == 50

    @staticmethod
    def logs(*, growth: float, accuracy: float) -> list[dict[str, float]]:
        return [
            {"loss": 1.3, "rewards/margins": growth * at + 0.2 * UNEVEN[at % 5], "rewards/accuracies": accuracy}
            for at in range(100)
        ]

    def test_a_loss_that_falls_is_movement_too(self) -> None:
        logs = [{**log, "loss": 2.0 - 0.01 * at} for at, log in enumerate(self.logs(growth=0.0, accuracy=0.5))]
        assert raised("no-movement", logs) is None

    def test_margins_that_stay(self) -> None:
        step, finding = raised("no-movement", self.logs(growth=0.0, accuracy=0.5))
        assert step == 75 and "0.2 are no higher than the 0.2 of the first third, with 50%" in str(finding)

    def test_margins_that_grow(self) -> None:
        assert raised("no-movement", self.logs(growth=0.01, accuracy=0.5)) is None

    def test_pairs_that_are_right_are_no_stall_unless_the_evaluation_stays(self) -> None:
        logs = self.logs(growth=0.0, accuracy=0.7)  # of 200 pairs: 5.7 deviations above a coin
        assert raised("no-movement", logs) is None
        assert raised("no-movement", [{"eval_rewards/margins": 0.2}, *logs])[0] == 75
        assert (
            raised("no-movement", [{"eval_rewards/margins": 0.2}, *logs[:50], {"eval_rewards/margins": 0.4}, *logs])
            is None
        )

    def test_too_few_logs_say_nothing(self) -> None:
        assert raised("no-movement", self.logs(growth=0.0, accuracy=0.5)[:19], replace(SIMPO, steps=19)) is None

    def test_supervised_training_is_told_by_its_evaluation(self) -> None:
        logs = [{"step": step, "eval_loss": 1.5} for step in (20, 40, 60, 80)]
        assert raised("no-movement", logs, SFT)[0] == 80
        assert raised("no-movement", [*logs[:3], {"step": 80, "eval_loss": 1.49}], SFT) is None


class TestChosenFalls:
    def test_simpo_may_lower_the_chosen_answers_a_little(self) -> None:
        logs = [{"logps/chosen": -1.0 - 0.01 * at} for at in range(100)]  # ends 0.99 lower
        assert raised("chosen-falls", logs) is None

    def test_simpo_beyond_the_bound(self) -> None:
        logs = [{"logps/chosen": value} for value in (-1.0, -1.0, -1.0, -2.4, -2.5, -2.8, -2.9)]
        step, finding = raised("chosen-falls", logs)
        # means of three: 1.57 below the beginning in steps 4 to 6
        assert (step, finding.since) == (6, 4) and "lost 1.57 nats" in str(finding)

    def test_what_holds_the_likelihood_may_not_lower_it(self) -> None:
        logs = [{"logps/chosen": value} for value in (-1.0, -1.0, -1.0, -1.6, -1.6, -1.6)]
        assert raised("chosen-falls", logs) is None
        assert raised("chosen-falls", logs, replace(SIMPO, anchored=True))[0] == 6
        losses = [{"loss": -log["logps/chosen"]} for log in logs]
        assert raised("chosen-falls", losses, SFT)[0] == 6

    def test_dpo_is_measured_against_its_reference(self) -> None:
        # beta 0.1 and 20 tokens: a reward of -4 is 2 nats a token
        logs = [{"rewards/chosen": value} for value in (0.0, -3.8, -3.9, -4.1, -4.3)]
        step, finding = raised("chosen-falls", logs, DPO)
        assert (step, finding.since) == (5, 3) and "lost 2.05 nats" in str(finding)


class TestRejectedFalls:
    def test_what_works_pushes_down_and_what_breaks_pushes_out(self) -> None:
        logs = [{"logps/rejected": value} for value in (-1.0, -1.0, -1.0, -2.5, -3.0, -3.5, -6.0, -7.0, -7.0)]
        step, finding = raised("rejected-falls", logs)  # -5.5 on average in steps 6 to 8
        assert (step, finding.since) == (8, 6) and "lost 4.50 nats" in str(finding)
        assert raised("rejected-falls", ({"loss": 9.0} for _ in range(9)), SFT) is None


class TestMarginsWithoutAccuracy:
    @staticmethod
    def logs(*, accuracy: float, loss: float) -> list[dict[str, float]]:
        """Margins grow from 0.5 to 3.4 with noise; accuracy and loss end at the stated values."""
        return [
            {
                "rewards/margins": 0.5 + 0.03 * at + 0.1 * UNEVEN[at % 5],
                "rewards/accuracies": noisy(0.6 + (accuracy - 0.6) * at / 99, at),
                "loss": noisy(1.0 + (loss - 1.0) * at / 99, at),
            }
            for at in range(100)
        ]

    def test_growing_margins_alone(self) -> None:
        _, finding = raised("margins-without-accuracy", self.logs(accuracy=0.6, loss=1.2))
        assert "61% of the pairs stay" in str(finding)

    def test_an_accuracy_that_grows_with_them_is_what_training_is_for(self) -> None:
        assert raised("margins-without-accuracy", self.logs(accuracy=0.8, loss=1.0)) is None

    def test_a_loss_that_falls_is_progress(self) -> None:
        assert raised("margins-without-accuracy", self.logs(accuracy=0.6, loss=0.5)) is None


class TestBelowChance:
    def test_training_pairs(self) -> None:
        logs = [{"rewards/accuracies": noisy(0.3, at), "rewards/margins": -noisy(0.2, at)} for at in range(100)]
        step, finding = raised("below-chance", logs)
        assert (step, finding.since) == (63, 51)  # 13 logs of 8 pairs: (0.5 - 0.3) * 2 * sqrt(104) = 4.1
        assert "30% of 104 training pairs" in str(finding)

    def test_the_first_half_may_be(self) -> None:
        accuracies = [0.3] * 49 + [0.6] * 51
        logs = [{"rewards/accuracies": value, "rewards/margins": value - 0.5} for value in accuracies]
        assert raised("below-chance", logs) is None

    def test_dpo_begins_with_ties_that_count_as_wrong(self) -> None:
        logs = [{"rewards/accuracies": 0.0, "rewards/margins": 0.0}] * 100
        assert raised("below-chance", logs, DPO) is None

    def test_two_evaluations(self) -> None:
        logs = [{"step": step, "eval_rewards/accuracies": 0.29, "eval_rewards/margins": -0.1} for step in (40, 60, 80)]
        step, finding = raised("below-chance", logs)  # 100 rows: 4.2 deviations
        assert (step, finding.since) == (80, 60)
        few = replace(SIMPO, evaluation_rows=24)  # 2.1 deviations
        assert raised("below-chance", logs, few) is None


class TestOverfitting:
    @staticmethod
    def logs(train: list[float], evaluated: list[float]) -> list[dict[str, float]]:
        """Ten logs of each training loss, then an evaluation."""
        logs = []
        for trained, loss in zip(train, evaluated, strict=True):
            logs += [*({"loss": trained} for _ in range(10)), {"eval_loss": loss}]
        return logs

    def test_training_leaves_the_evaluation_behind(self) -> None:
        step, finding = raised("overfitting", self.logs([1.3, 0.2, 0.05, 0.02], [1.3, 1.2, 1.2, 1.2]))
        assert (step, finding.since) == (33, 22) and "1.2 in evaluation and 0.05 in training" in str(finding)

    def test_an_evaluation_that_rises_while_training_falls(self) -> None:
        step, finding = raised("overfitting", self.logs([0.69, 0.5, 0.4, 0.3], [0.68, 0.55, 0.7, 0.8]))
        assert step == 44 and "rose from 0.55 to 0.8 while that of training fell to 0.3" in str(finding)

    def test_both_fall(self) -> None:
        assert raised("overfitting", self.logs([1.3, 0.2, 0.05, 0.01], [1.2, 0.3, 0.09, 0.03])) is None

    def test_a_likelihood_is_left_behind_by_nats(self) -> None:
        logs = self.logs([3.0, 1.5, 1.2], [3.0, 2.4, 2.4])
        assert raised("overfitting", logs) is None
        assert raised("overfitting", logs, SFT)[0] == 33

    def test_without_evaluation_after_three_epochs(self) -> None:
        begun = [{"loss": 1.0, "rewards/accuracies": 0.5, "epoch": 1.0}] * 10
        learned = [{"loss": 0.01, "rewards/accuracies": 1.0, "epoch": 3.5}] * 10
        assert raised("overfitting", [*begun, *learned])[0] == 20
        once = [{**log, "epoch": 1.0} for log in learned]
        assert raised("overfitting", [*begun, *once]) is None
        assert raised("overfitting", [*begun, *once], replace(SIMPO, repeats=4.0))[0] == 20


class TestSamples:
    def test_answers_longer_than_asked_for(self) -> None:
        # 10 tokens before training, 20 in the data: 50 is the most
        logs = [{"samples/tokens": tokens} for tokens in (10, 45, 60, 20, 60, 70)]
        step, finding = raised("length-drift", logs)
        assert (step, finding.since) == (6, 5) and "70 tokens, 10 before training and 20" in str(finding)

    def test_answers_that_become_as_short_as_the_data(self) -> None:
        assert raised("length-drift", [{"samples/tokens": tokens} for tokens in (100, 60, 22, 20, 20)]) is None
        assert raised("length-drift", [{"samples/tokens": tokens} for tokens in (100, 60, 7, 7)])[0] == 4

    def test_repetition(self) -> None:
        assert raised("repetition", [{"samples/repetition": share} for share in (0.05, 0.2, 0.6, 0.2, 0.5)]) is None
        assert raised("repetition", [{"samples/repetition": share} for share in (0.05, 0.2, 0.6, 0.7)])[0] == 4
        assert raised("repetition", [{"samples/repetition": share} for share in (0.9, 0.95, 0.99, 0.99)]) is None


class TestSpeed:
    @staticmethod
    def logs(speeds: list[float], pairs: float) -> list[dict[str, float]]:
        return [
            {"throughput/tokens_per_second": speed, "throughput/pairs_per_second": pairs * speed / 100}
            for speed in speeds
        ]

    def test_a_minute_at_a_third_of_the_speed(self) -> None:
        # 8 pairs at 1 a second: 8 seconds a log before, 24 after; the last ten logs' median is slow with the sixth
        step, finding = raised("throughput-drop", self.logs([100.0] * 30 + [33.0] * 10, pairs=1.0))
        assert step == 36 and "33% of the 100 before" in str(finding)

    def test_seconds_of_a_small_run_are_other_programs(self) -> None:
        assert raised("throughput-drop", self.logs([100.0] * 30 + [33.0] * 10, pairs=100.0)) is None

    def test_a_rank_that_lags(self) -> None:
        measured = [(1.8, 3), (1.1, 0), (1.7, 3), (1.9, 2), (1.6, 2), (1.7, 2)]
        logs = [{"ranks/slowest_over_median": times, "ranks/slowest": rank} for times, rank in measured]
        step, finding = raised("lagging-rank", logs)
        assert (step, finding.since) == (6, 4) and "process 2 takes 1.7 times" in str(finding)
