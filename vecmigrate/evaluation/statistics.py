"""Is the difference between two systems on the same queries more than chance? Intervals, tests, power. Pure numpy, seeded.

All of it works on *paired* values: one number per query for the control and one for the candidate, in one order.
Memory is bounded: resamples are drawn in blocks of at most four million values, however many queries there are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import DataError

Values = NDArray[np.float64]

RESAMPLES = 9_999
POWER = 0.8
FEWEST = 10
"""Queries below which no interval is given."""
TIE = 1e-9
"""Differences smaller than this are rounding, and ties."""

_BLOCK = 4_000_000
_EXACT_UP_TO = 13
_GROUPING_PAYS = 16
_LEAST_TAIL = 1e-9
_POLE = 1e-3
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """Candidate against control on `n` queries; `difference` is candidate minus control.

    `interval` is None below ten queries. `detectable` is the smallest true difference that this many queries with
    this scatter would show with 80 % probability; None where there is no scatter to go by.
    """

    n: int
    control: float
    candidate: float
    difference: float
    interval: Interval | None
    p_value: float
    wins: int
    ties: int
    losses: int
    detectable: float | None


@dataclass(frozen=True, slots=True)
class Procedure:
    """How sure, how many resamples, and the seed that makes the figures repeatable."""

    confidence: float = 0.95
    resamples: int = RESAMPLES
    seed: int = 0


def paired(control: Values, candidate: Values, procedure: Procedure = Procedure()) -> Paired:
    """Everything about one measure on one set of queries. Shapes (n,) and (n,), n ≥ 1.

    Raises `DataError` for no queries, different lengths, or values that are not numbers.
    """
    if control.shape != candidate.shape or control.ndim != 1 or not len(control):
        raise DataError(
            f"control has {control.shape} values and candidate {candidate.shape}", hint="both need one value for each of at least one query"
        )
    differences = np.where(np.abs(candidate - control) < TIE, 0.0, candidate - control)
    if not np.isfinite(differences).all():
        raise DataError("a measure came out as NaN or infinite", hint="every query's value must be a finite number")
    return Paired(
        n=len(control),
        control=float(control.mean()),
        candidate=float(candidate.mean()),
        difference=float(differences.mean()),
        interval=bootstrap_interval(differences, procedure),
        p_value=sign_flip_p(differences, procedure),
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        losses=int((differences < 0).sum()),
        detectable=detectable_difference(differences, procedure.confidence),
    )


def bootstrap_interval(differences: Values, procedure: Procedure = Procedure()) -> Interval | None:
    """The BCa bootstrap interval of the mean (Efron, JASA 1987): percentiles, corrected for bias and skew, at levels widened for
    small samples as Hesterberg proposes (American Statistician 2015), without which 20 queries give too narrow an interval.

    None for fewer than ten queries: of five, it would hold the truth in 7 cases of 10 and say 95 %. Where all differences are one
    value the interval is that value: resampling can't know better.
    """
    n = len(differences)
    if n < FEWEST:
        return None
    mean = float(differences.mean())
    if np.ptp(differences) < TIE:
        return Interval(mean, mean)
    means = np.sort(_resampled_means(differences, procedure))
    low, high = (_corrected(level, means, mean, _acceleration(differences)) for level in _widened(procedure.confidence, n))
    return Interval(float(np.quantile(means, low)), float(np.quantile(means, high)))


def sign_flip_p(differences: Values, procedure: Procedure = Procedure()) -> float:
    """The two-sided p-value of Fisher's paired randomisation test: how often would a random swap of control and candidate in each
    query give a mean at least as far from 0? Exact for up to 13 queries that differ; else (hits + 1) / (resamples + 1).
    """
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    bar = abs(moved.sum()) * (1 - 1e-12)
    if len(moved) <= _EXACT_UP_TO:
        return float(np.mean(np.abs(_all_signs(len(moved)) @ moved) >= bar))
    hits = sum(int((np.abs(signs @ moved) >= bar).sum()) for signs in _random_signs(len(moved), procedure))
    return (hits + 1) / (procedure.resamples + 1)


def detectable_difference(differences: Values, confidence: float = 0.95, power: float = POWER) -> float | None:
    """The smallest true mean difference that a two-sided test at this confidence would find with this power, by the normal
    approximation: (z of 1 - α/2 + z of power) · s / √n. None for fewer than two queries or no scatter.
    """
    n = len(differences)
    scatter = float(differences.std(ddof=1)) if n > 1 else 0.0
    return _reach(confidence, power) * scatter / math.sqrt(n) if scatter > 0 else None


def queries_needed(detectable: float, n: int, difference: float) -> int:
    """About how many queries would show a difference of this size, when `n` queries show one of `detectable`."""
    return math.ceil(n * (detectable / abs(difference)) ** 2)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's correction (Scandinavian J. of Statistics 1979), in the order given: what each p-value is worth as one of several."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    steps = [min(1.0, p_values[i] * (len(order) - rank)) for rank, i in enumerate(order)]
    adjusted = dict(zip(order, itertools.accumulate(steps, max), strict=True))
    return tuple(adjusted[i] for i in range(len(p_values)))


def _levels(confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    return tail, 1 - tail


def _widened(confidence: float, n: int) -> tuple[float, float]:
    """Percentiles that are as far out as Student's t says, times √(n / (n - 1)) for the resamples' too small spread."""
    reach = _student(_NORMAL.inv_cdf(_levels(confidence)[1]), n - 1) * math.sqrt(n / (n - 1))
    tail = max(_NORMAL.cdf(-reach), _LEAST_TAIL)
    return tail, 1 - tail


def _student(z: float, freedom: int) -> float:
    """Student's quantile from the normal one: Abramowitz and Stegun 26.7.5, right to 0.001 from nine degrees of freedom at 99 %."""
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def _reach(confidence: float, power: float) -> float:
    return _NORMAL.inv_cdf(_levels(confidence)[1]) + _NORMAL.inv_cdf(power)


def _resampled_means(differences: Values, procedure: Procedure) -> Values:
    """Means of resamples. Measures take few values, so where it pays only how often each value is drawn is drawn."""
    generator = np.random.default_rng(procedure.seed)
    n = len(differences)
    distinct, times = np.unique(differences.round(12), return_counts=True)
    grouped = len(distinct) * _GROUPING_PAYS < n
    means = np.empty(procedure.resamples)
    done = 0
    for size in _block_sizes(len(distinct) if grouped else n, procedure.resamples):
        block = means[done : done + size]
        if grouped:
            block[:] = generator.multinomial(n, times / n, size) @ distinct / n
        else:
            block[:] = differences[generator.integers(0, n, (size, n), dtype=np.int32)].mean(axis=1)
        done += size
    return means


def _block_sizes(n: int, resamples: int) -> Iterator[int]:
    step = max(1, _BLOCK // n)
    for start in range(0, resamples, step):
        yield min(step, resamples - start)


def _acceleration(differences: Values) -> float:
    """The jackknife's acceleration, which for a mean has a closed form: skewness / (6 √n)."""
    centred = differences - differences.mean()
    return float((centred**3).sum() / (6 * (centred**2).sum() ** 1.5))


def _corrected(level: float, means: Values, mean: float, acceleration: float) -> float:
    """The percentile that BCa reads instead of `level`. Resamples that equal the mean, but for rounding, count half."""
    equal = np.abs(means - mean) <= TIE
    below = ((means < mean) & ~equal).sum() + 0.5 * equal.sum()
    bias = _NORMAL.inv_cdf(float(np.clip(below / len(means), 1e-6, 1 - 1e-6)))
    z = bias + _NORMAL.inv_cdf(level)
    return _NORMAL.cdf(bias + z / max(1 - acceleration * z, _POLE))


def _all_signs(n: int) -> Values:
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    return (1 - 2 * bits).astype(np.float64)


def _random_signs(n: int, procedure: Procedure) -> Iterator[Values]:
    generator = np.random.default_rng([procedure.seed, 1])
    for size in _block_sizes(n, procedure.resamples):
        packed = np.frombuffer(generator.bytes(size * ((n + 7) // 8)), dtype=np.uint8).reshape(size, -1)
        yield (1 - 2 * np.unpackbits(packed, axis=1, count=n).astype(np.int8)).astype(np.float64)
