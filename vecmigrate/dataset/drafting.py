"""A training pair while its negatives are chosen: what users rated not relevant first, then what they passed over, then what was found."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

from vecmigrate.config import DatasetSection
from vecmigrate.dataset.mining_report import Tally
from vecmigrate.dataset.screening import Screen
from vecmigrate.records import Judgment


@dataclass(frozen=True, slots=True)
class PairIds:
    """A training pair by ids."""

    query_id: str
    chunk_id: str
    negatives: tuple[str, ...]
    weight: float
    grade: float = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that may be a negative, with its cosine to the query; `why_not` keeps it out of every pair of the query."""

    id: str
    similarity: float
    why_not: str = ""
    passed_over: bool = False


@dataclass(slots=True)
class Draft:
    """A pair with what has been chosen so far, and the candidates that are left, the most wanted first. `positive` is the relevant
    chunk's cosine to the query, until it has been counted.
    """

    query: str
    judgment: Judgment
    left: list[Candidate]
    chosen: list[str] = field(default_factory=list)
    positive: float | None = None

    def take(self, candidate: Candidate, tally: Tally) -> None:
        """Choose it."""
        if self.positive is not None:
            tally.positive.append(self.positive)
            self.positive = None
        self.chosen.append(candidate.id)
        tally.passed_over += candidate.passed_over
        tally.negative.append(candidate.similarity)

    def done(self) -> PairIds:
        """The pair."""
        return PairIds(self.judgment.query_id, self.judgment.chunk_id, tuple(self.chosen), self.judgment.weight, self.judgment.grade)


@dataclass(frozen=True, slots=True)
class Drafting:
    """Makes the drafts of one query. `rated` were rated not relevant by users, `candidates` come in rank order."""

    query: str
    screen: Screen
    rated: Sequence[str]
    candidates: Sequence[Candidate]
    settings: DatasetSection

    def draft(self, judgment: Judgment, tally: Tally) -> Draft:
        """The pair of this relevant chunk, with what users rated chosen already."""
        wanted = self.settings.negatives_per_pair
        random = Random(hashlib.sha256(f"{self.settings.seed}\0{judgment.query_id}\0{judgment.chunk_id}".encode()).digest())  # noqa: S311
        chosen = random.sample(sorted(self.rated), min(wanted, len(self.rated)))
        tally.explicit += len(chosen)
        positive = self.screen.similarity(judgment.chunk_id)
        usable = [candidate for candidate in self._usable(positive, tally) if candidate.id not in chosen]
        return Draft(self.query, judgment, self._ordered(usable, random), chosen, positive)

    def _usable(self, positive: float | None, tally: Tally) -> list[Candidate]:
        tally.candidates += len(self.candidates)
        usable = []
        for candidate in self.candidates:
            reason = candidate.why_not or self.screen.why_too_near(candidate.similarity, positive)
            if reason:
                tally.skipped[reason] += 1
            else:
                usable.append(candidate)
        return usable

    def _ordered(self, usable: Sequence[Candidate], random: Random) -> list[Candidate]:
        """What users passed over first; within each kind by chance, or the most similar first."""
        first = [candidate for candidate in usable if candidate.passed_over]
        rest = [candidate for candidate in usable if not candidate.passed_over]
        if self.settings.negative_choice == "top":
            return [*sorted(first, key=lambda candidate: (-candidate.similarity, candidate.id)), *rest]
        first.sort(key=lambda candidate: candidate.id)
        return [*random.sample(first, len(first)), *random.sample(rest, len(rest))]


def candidates_of(screen: Screen, ranked: Sequence[str], passed_over: frozenset[str]) -> tuple[Candidate, ...]:
    """What was ranked, and what users passed over, each once, in rank order."""
    screened = screen.screened([*ranked, *sorted(passed_over - set(ranked))])
    found = (Candidate(id, similarity, why_not, id in passed_over) for id, why_not, similarity in screened)
    return tuple(found)


def without(pair: PairIds, kept: frozenset[str] | set[str]) -> PairIds:
    """The pair with only the negatives that are among `kept`."""
    return replace(pair, negatives=tuple(id for id in pair.negatives if id in kept))
