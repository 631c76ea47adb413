"""How likely a result is looked at by where it stands, so that a click far down counts for more than one at the top.

The position-based model says that a click needs a look and relevance: P(click) = p(rank) · r(query, chunk). Where the log shows the same
chunk for the same query at several ranks, relevance cancels out and the ratio of their click rates is the ratio of the p:

    pairs seen at ranks i and j ─► ratio p(i)/p(j), strata pooled ─► least squares over all (i, j) ─► p(rank), p(1) = 1

Sources: T. Joachims, A. Swaminathan, T. Schnabel, Unbiased Learning-to-Rank with Biased Feedback, WSDM 2017 (the model, 1/rank^eta);
A. Agarwal et al., Estimating Position Bias without Intrusive Interventions, WSDM 2019 (ranks that vary by themselves); N. Mantel,
W. Haenszel, JNCI 1959 (the pooling), S. Greenland, J. Robins, Biometrics 1985 (its variance).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

RANKS = 20
"""Ranks that are estimated one by one; below them the curve goes on."""
MIN_PAIRS = 50
"""Query-chunk pairs seen at more than one rank, from which on the log is asked."""
MIN_CLICKS = 500
"""Clicks on them: spread over ten ranks, each ratio is then known to about a fifth."""
MIN_ABANDONED = 0.01
"""Share of searches without a click. A log with fewer was written on a click, and its click rates say nothing."""
LEAST = 0.02
"""No rank is taken to be looked at less often than this."""
LARGEST_WEIGHT = 2.0
"""What a click at the least visible rank counts for at most, in clicks at rank 1: so no single person's click ever has full weight."""

Impressions = Mapping[tuple[str, str], Mapping[int, tuple[int, int]]]
"""(query, chunk) → rank → how often it was shown there, and how often clicked."""


@dataclass(frozen=True, slots=True)
class Propensities:
    """The chance that a rank is looked at, relative to rank 1. `source` is `estimated`, `default` or `off`; `pairs` and `clicks` are
    what it was estimated from; `why` says why it was not. Ranks that `by_rank` lacks are 1/rank^`eta`.
    """

    source: str
    eta: float
    by_rank: Mapping[int, float] = field(default_factory=dict)
    pairs: int = 0
    clicks: int = 0
    why: str = ""

    def at(self, position: float) -> float:
        """The propensity of a rank from 1 on, between `LEAST` and 1; a mean rank lies between its neighbours."""
        below = math.floor(max(position, 1.0))
        share = max(position, 1.0) - below
        return (1 - share) * self._whole(below) + share * self._whole(below + 1)

    def _whole(self, rank: int) -> float:
        return min(1.0, max(LEAST, self.by_rank.get(rank, math.pow(rank, -self.eta))))

    def weight(self, position: float | None) -> float:
        """What a click there counts for, in clicks at rank 1: 1/p, at most `LARGEST_WEIGHT`. Without a position, or when off, 1."""
        if position is None or self.source == "off":
            return 1.0
        return min(LARGEST_WEIGHT, 1 / self.at(position))

    def lines(self) -> list[str]:
        """For printing."""
        if self.source == "off":
            return ['  position bias: not corrected for (position_bias = "off")']
        if self.source == "estimated":
            shown = ", ".join(f"{rank}: {self.at(rank):.2f}" for rank in sorted(self.by_rank)[:5])
            return [f"  position bias: estimated from {self.pairs:,} pairs at several ranks with {self.clicks:,} clicks ({shown})"]
        return [f"  position bias: not estimated ({self.why}); assumed 1/rank^{self.eta:g}"]


def estimate(impressions: Impressions, *, abandoned: float, eta: float) -> Propensities:
    """The propensities that the log shows, or 1/rank^`eta` with the reason why it shows none. `abandoned` is the share of searches
    that showed results and got no click.
    """
    varied = {pair: ranks for pair, ranks in impressions.items() if len(ranks) > 1}
    clicks = sum(clicked for ranks in varied.values() for _, clicked in ranks.values())
    if abandoned < MIN_ABANDONED:
        return _default("nearly every logged search has a click, so the log has no click rates", eta, varied, clicks)
    if len(varied) < MIN_PAIRS or clicks < MIN_CLICKS:
        need = f"{MIN_PAIRS} and {MIN_CLICKS} are needed"
        why = f"{len(varied):,} query-chunk pairs were seen at more than one rank, with {clicks:,} clicks; {need}"
        return _default(why, eta, varied, clicks)
    by_rank = _solve(_ratios(varied.values()))
    if len(by_rank) < 2:
        return _default("no clicked pair moved to or from rank 1", eta, varied, clicks)
    return Propensities("estimated", _slope(by_rank), by_rank, len(varied), clicks)


def _default(why: str, eta: float, varied: Impressions, clicks: int) -> Propensities:
    return Propensities("default", eta, pairs=len(varied), clicks=clicks, why=why)


@dataclass(slots=True)
class _Pooled:
    """Sums over the pairs seen at ranks i < j: the two pooled click rates, and what their variance needs."""

    upper: float = 0.0
    lower: float = 0.0
    spread: float = 0.0

    def add(self, at_upper: tuple[int, int], at_lower: tuple[int, int]) -> None:
        (shown_i, clicked_i), (shown_j, clicked_j) = at_upper, at_lower
        total = shown_i + shown_j
        self.upper += clicked_i * shown_j / total
        self.lower += clicked_j * shown_i / total
        self.spread += (clicked_i + clicked_j) * shown_i * shown_j / total**2


def _ratios(varied: Iterable[Mapping[int, tuple[int, int]]]) -> dict[tuple[int, int], _Pooled]:
    pooled: dict[tuple[int, int], _Pooled] = defaultdict(_Pooled)
    for ranks in varied:
        seen = sorted(rank for rank in ranks if rank <= RANKS)
        for place, i in enumerate(seen):
            for j in seen[place + 1 :]:
                pooled[i, j].add(ranks[i], ranks[j])
    return {pair: sums for pair, sums in pooled.items() if sums.upper > 0 and sums.lower > 0}


def _solve(ratios: Mapping[tuple[int, int], _Pooled]) -> dict[int, float]:
    """Least squares for log p over the log ratios, each weighted by the inverse of its variance; only ranks linked to rank 1."""
    linked = _linked(ratios)
    used = {pair: sums for pair, sums in ratios.items() if pair[0] in linked}
    columns = {rank: place for place, rank in enumerate(sorted(linked - {1}))}
    design = np.zeros((len(used), len(columns)))
    target = np.zeros(len(used))
    for row, ((i, j), sums) in enumerate(sorted(used.items())):
        scale = math.sqrt(sums.upper * sums.lower / sums.spread)
        target[row] = scale * math.log(sums.upper / sums.lower)
        for rank, sign in ((i, 1.0), (j, -1.0)):
            if rank != 1:
                design[row, columns[rank]] = sign * scale
    solved = np.linalg.lstsq(design, target, rcond=None)[0] if columns else np.zeros(0)
    return {1: 1.0} | {rank: float(min(1.0, max(LEAST, math.exp(solved[place])))) for rank, place in columns.items()}


def _linked(ratios: Iterable[tuple[int, int]]) -> set[int]:
    neighbours: dict[int, set[int]] = defaultdict(set)
    for i, j in ratios:
        neighbours[i].add(j)
        neighbours[j].add(i)
    linked, waiting = {1}, [1]
    while waiting:
        new = neighbours[waiting.pop()] - linked
        linked |= new
        waiting += new
    return linked


def _slope(by_rank: Mapping[int, float]) -> float:
    """The eta of the curve 1/rank^eta that lies nearest, for the ranks below those seen."""
    logs = [(math.log(rank), -math.log(p)) for rank, p in by_rank.items() if rank > 1]
    return max(0.0, sum(x * y for x, y in logs) / sum(x * x for x, _ in logs))
