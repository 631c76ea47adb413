"""What mining gave, what it left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

MOST_POSITIVES = 10
"""Per query: one that everybody asks must not be most of the training."""


@dataclass(frozen=True, slots=True)
class MiningReport:
    """What was mined. `candidates` and, by reason, `skipped` are counted per pair; `explicit` negatives were rated so by users,
    `passed_over` ones were shown above what a user chose.

    `short` counts the pairs with fewer negatives than asked for, `beyond` the relevant chunks that have no pair because their query
    has so many, `above` the hits, per pair, before the first rank that is looked at. The similarities, cosine to the
    query, are means over the pairs that were given what was found or passed over. `notes` say where was looked.
    """

    pairs: int
    wanted: int
    negatives: int
    explicit: int
    short: int
    candidates: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    beyond: int = 0
    positive_similarity: float = 0.0
    negative_similarity: float = 0.0
    passed_over: int = 0
    above: int = 0
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For printing."""
        known = f"{self.explicit:,} by users' ratings"
        if self.passed_over:
            known += f", {self.passed_over:,} that users passed over"
        out = [f"mined {self.negatives:,} of {self.wanted:,} hard negatives for {self.pairs:,} pairs ({known})"]
        out += [f"  {note}" for note in self.notes]
        if self.negatives > self.explicit:
            out.append(f"  similarity to the query: relevant {self.positive_similarity:.3f}, negatives {self.negative_similarity:.3f}")
        out += [f"  {count:,} of {self.candidates:,} candidates skipped: {why}" for why, count in self.skipped.items()]
        if self.above:
            out.append(f"  {self.above:,} hits above the first rank were not looked at: too often relevant and merely unjudged")
        if self.short:
            out.append(f"  {self.short:,} pairs have fewer than asked for: the other pairs of their batch are their negatives")
        if self.beyond:
            out.append(f"  {self.beyond:,} relevant chunks beyond a query's {MOST_POSITIVES} best have no pair")
        return out


@dataclass(slots=True)
class Tally:
    """The counts while they grow."""

    pairs: int = 0
    wanted: int = 0
    negatives: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    explicit: int = 0
    passed_over: int = 0
    above: int = 0
    short: int = 0
    beyond: int = 0
    positive: list[float] = field(default_factory=list)
    negative: list[float] = field(default_factory=list)

    def report(self, notes: tuple[str, ...] = ()) -> MiningReport:
        """As it stands now."""
        return MiningReport(
            pairs=self.pairs,
            wanted=self.wanted,
            negatives=self.negatives,
            explicit=self.explicit,
            short=self.short,
            candidates=self.candidates,
            skipped=dict(+self.skipped),
            beyond=self.beyond,
            positive_similarity=float(np.mean(self.positive)) if self.positive else 0.0,
            negative_similarity=float(np.mean(self.negative)) if self.negative else 0.0,
            passed_over=self.passed_over,
            above=self.above,
            notes=notes,
        )
