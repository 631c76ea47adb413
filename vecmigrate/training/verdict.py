"""Was the training worth it? A paired bootstrap over the dev queries, deliberately easy to pass: the test queries decide later."""

from __future__ import annotations

import numpy as np

from vecmigrate.training.devsearch import Scores
from vecmigrate.training.request import Verdict

CONFIDENCE = 0.80
"""Of the two-sided interval whose lower end must be above zero: one chance in ten to call noise a gain. Dev sets are small, the verdict
costs nothing, and `compare` repeats the question on queries that chose nothing."""
RESAMPLES = 2000


def interval_of_mean(differences: Scores, *, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean (Efron 1979), at `CONFIDENCE`."""
    chance = np.random.default_rng(seed)
    picks = chance.integers(0, len(differences), size=(RESAMPLES, len(differences)))
    low, high = np.quantile(differences[picks].mean(axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def verdict_on(base: Scores, tuned: Scores) -> tuple[Verdict, tuple[float, float]]:
    """The verdict and the interval of the mean difference, tuned minus base, over the same queries."""
    low, high = interval_of_mean(tuned - base)
    return (Verdict.TUNED if low > 0 else Verdict.KEEP_BASE), (low, high)
