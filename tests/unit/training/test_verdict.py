"""The verdict: a gain that chance would not give, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from vecmigrate.training.request import Verdict
from vecmigrate.training.verdict import interval_of_mean, verdict_on

BASE = np.full(40, 0.5)


@pytest.mark.parametrize(
    ("tuned", "verdict"),
    [
        (BASE + 0.1, Verdict.TUNED),
        (BASE, Verdict.KEEP_BASE),
        (BASE - 0.1, Verdict.KEEP_BASE),
        (BASE + np.tile([0.5, -0.49], 20), Verdict.KEEP_BASE),
        (BASE + np.tile([0.3, -0.1], 20), Verdict.TUNED),
    ],
    ids=["better", "equal", "worse", "noise", "mostly better"],
)
def test_only_a_gain_above_chance_is_called_tuned(tuned: np.ndarray, verdict: Verdict) -> None:
    assert verdict_on(BASE, tuned)[0] is verdict


def test_the_interval_is_the_same_each_time_and_holds_the_mean() -> None:
    differences = np.random.default_rng(1).normal(0.02, 0.1, 200)
    low, high = interval_of_mean(differences)
    assert (low, high) == interval_of_mean(differences)
    assert low < differences.mean() < high


def test_noise_is_called_a_gain_about_one_time_in_ten() -> None:
    chance = np.random.default_rng(0)
    called = sum(interval_of_mean(chance.normal(0, 0.2, 100), seed=n)[0] > 0 for n in range(200))
    assert 8 <= called <= 36


def test_a_single_query_decides_by_its_sign() -> None:
    assert verdict_on(np.array([0.5]), np.array([0.6]))[0] is Verdict.TUNED
    assert verdict_on(np.array([0.5]), np.array([0.4]))[0] is Verdict.KEEP_BASE
