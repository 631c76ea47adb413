"""Was the training worth it? Asked of the dev queries, which have also chosen the step, the rate and the blend: hence the care.

What is judged is the whole procedure. The queries are parted into folds; for each fold the candidate is chosen by the *other* folds, and
scored on this one, so that no query has a say in the choice that it judges (cross-fitting: Varma and Simon 2006). The folds' choices hang
together, which its interval does not know; so luck must not find as good a best among as many (Westfall and Young 1993). And the gain must
be the query's own: a model that has merely learned which chunks are popular finds as much for any other query's chunks.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vecmigrate.training.devsearch import DevSearch, Scores
from vecmigrate.training.request import Verdict

CONFIDENCE = 0.95
"""Of the two-sided interval whose lower end must be above zero."""
RESAMPLES = 2000
FOLDS = 5
FLIPS = 4000
EXCHANGES = 20
"""How often the dev queries' judgments are exchanged among each other to see what popularity alone would find."""
FEWEST_QUERIES = 20
"""Dev queries below which no interval is believed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict, its reasons, and the figures behind it: the cross-fitted gain with its interval, and the gain over exchanged
    judgments with its own.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    gain: float
    interval: tuple[float, float]
    own_gain: float
    own_interval: tuple[float, float]


def interval_of_mean(differences: Scores, groups: Sequence[str] = (), *, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean (Efron 1979), at `CONFIDENCE`; queries of one group are drawn together."""
    chance = np.random.default_rng(seed)
    names = list(groups) or [str(place) for place in range(len(differences))]
    order = {name: place for place, name in enumerate(dict.fromkeys(names))}
    member = np.array([order[name] for name in names])
    sums = np.bincount(member, weights=differences, minlength=len(order))
    sizes = np.bincount(member, minlength=len(order))
    picks = chance.integers(0, len(order), size=(RESAMPLES, len(order)))
    means = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def cross_fitted(base: Scores, candidates: NDArray[np.float64], groups: Sequence[str], *, seed: int = 0) -> Scores:
    """Each query's score under the candidate that the other folds choose, the base among them. `candidates` has shape (n, queries)."""
    table = np.vstack([base, candidates])
    fold = _folds(groups, seed)
    chosen = np.empty(len(base))
    for number in range(FOLDS):
        here = fold == number
        if here.any():
            means = table[:, ~here].mean(axis=1) if (~here).any() else table.mean(axis=1)
            chosen[here] = table[int(np.argmax(means)), here]
    return chosen


def luck(base: Scores, chosen: Scores, candidates: NDArray[np.float64], groups: Sequence[str], *, seed: int = 0) -> float:
    """How often the best of the candidates would seem as good as the chosen one if none were better than the base: the share of
    `FLIPS` in which each group's differences, all candidates' alike, change their sign or don't. 1 where the chosen gains nothing.
    """
    order = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    member = np.eye(len(order))[[order[name] for name in groups]]
    sums = (np.vstack([chosen, candidates]) - base) @ member
    sizes = np.sqrt((sums**2).sum(axis=1, keepdims=True))
    told = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(FLIPS, len(order)))
    best = (signs @ told.T).max(axis=1)
    return float((1 + (best >= told[0].sum() - 1e-12).sum()) / (1 + FLIPS))


def _folds(groups: Sequence[str], seed: int) -> NDArray[np.int64]:
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)  # noqa: S311  # not for secrets
    number = {name: place % FOLDS for place, name in enumerate(names)}
    return np.array([number[group] for group in groups])


def exchanged(search: DevSearch, ranked: NDArray[np.int64], *, seed: int = 0) -> Scores:
    """Each query's mean score by judgments that are other queries', over `EXCHANGES` exchanges: what popularity alone finds."""
    chance = np.random.default_rng(seed)
    total = np.zeros(len(ranked))
    for _ in range(EXCHANGES):
        total += search.score(ranked, _elsewhere(chance, len(ranked)))
    return total / EXCHANGES


def _elsewhere(chance: np.random.Generator, count: int) -> NDArray[np.int64]:
    """An order in which nobody keeps his own place: shuffled, then each takes the next one's."""
    order = chance.permutation(count)
    out = np.empty(count, dtype=np.int64)
    out[order] = np.roll(order, 1)
    return out


def judge(
    base: Scores, fitted: Scores, popular: tuple[Scores, Scores], groups: Sequence[str], *, share: float = 1.0, against: Sequence[str] = ()
) -> Finding:
    """The finding on the cross-fitted scores. `popular` holds the scores by exchanged judgments of the base and of the chosen model;
    `against` is what else speaks against it, and then decides.
    """
    differences = fitted - base
    own = differences - (popular[1] - popular[0])
    interval, own_interval = (interval_of_mean(values, groups) for values in (differences, own))
    reasons = list(against)
    if len(base) < FEWEST_QUERIES:
        reasons.append(f"{len(base)} dev queries are too few to tell a gain from chance; {FEWEST_QUERIES} or more are needed")
    if interval[0] <= 0:
        reasons.append(f"no sure gain on the dev queries: {differences.mean():+.3f} [{interval[0]:+.3f}, {interval[1]:+.3f}]")
    elif own_interval[0] <= 0:
        exchange = (popular[1] - popular[0]).mean()
        reasons.append(f"the gain is popularity: with the queries' judgments exchanged among each other it is {exchange:+.3f} already")
    passed = Verdict.TUNED if share == 1.0 else Verdict.INTERPOLATED
    verdict = Verdict.KEEP_BASE if reasons else passed
    return Finding(verdict, tuple(reasons), float(differences.mean()), interval, float(own.mean()), own_interval)
