"""What all users together said of one chunk for one query: the grade, and the trust in it.

Ratings decide over clicks, clicks and citations over ratings of an answer as a whole.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vecmigrate.querylog.propensity import Propensities
from vecmigrate.records import Feedback, FeedbackKind

HIGHEST_GRADE = 4.0
ONE_VOTE = 0.5
"""The trust in one person's click at rank 1 or citation."""
EACH_FURTHER_VOTE = 0.25
ANSWER_WEIGHT = 0.2
"""The trust in a chunk that one well-rated answer cited; a tenth more for each further person, up to `MOST_ANSWER_WEIGHT`."""
MOST_ANSWER_WEIGHT = 0.4
"""Less than one click: the thumb was for the answer."""


@dataclass(slots=True)
class Verdicts:
    """The votes for one chunk: per voter what the click counts for, who cited it, each voter's ratings, who rated its answer good."""

    clicks: dict[str, float] = field(default_factory=dict)
    citations: set[str] = field(default_factory=set)
    ratings: dict[str, list[float]] = field(default_factory=dict)
    approvals: set[str] = field(default_factory=set)
    counted: dict[str, int] = field(default_factory=dict)

    def add(self, voter: str, act: Feedback, propensities: Propensities) -> None:
        """Take one act. A voter's best-placed click counts once; an aggregated row counts for as many people as it says."""
        match act.kind:
            case FeedbackKind.CLICK:
                self.clicks[voter] = max(self.clicks.get(voter, 0.0), propensities.weight(act.position))
                self.counted[voter] = max(self.counted.get(voter, 1), act.count)
            case FeedbackKind.CITATION:
                self.citations.add(voter)
            case FeedbackKind.RATING:
                self.ratings.setdefault(voter, []).append(act.value)
            case FeedbackKind.APPROVAL:
                self.approvals.add(voter)

    @property
    def support(self) -> int:
        """How many people stand behind the chunk by clicks, citations or answers rated good."""
        voters = self.clicks.keys() | self.citations | self.approvals
        return sum(self.counted.get(voter, 1) for voter in voters)

    @property
    def acted(self) -> bool:
        """Whether anybody clicked or cited it."""
        return bool(self.clicks or self.citations)

    def trust(self) -> float:
        """The weight of the clicks, citations and answers, 0 to 1."""
        cited = sum(1.0 for voter in self.citations if voter not in self.clicks)
        votes = cited + sum(weight * self.counted.get(voter, 1) for voter, weight in self.clicks.items())
        answers = min(MOST_ANSWER_WEIGHT, ANSWER_WEIGHT + 0.1 * (len(self.approvals) - 1)) if self.approvals else 0.0
        return max(weight_of(votes) if votes else 0.0, answers)


def decide(verdicts: Verdicts, min_rating: float, counts: Counter[str]) -> tuple[float | None, float]:
    """Grade and weight: ratings by majority of raters, else 1 for clicks, citations and answers. Raters evenly split: no judgment."""
    if not verdicts.ratings:
        return 1.0, verdicts.trust()
    means = [sum(values) / len(values) for values in verdicts.ratings.values()]
    good = [mean for mean in means if mean >= min_rating]
    if 2 * len(good) == len(means):
        counts["raters evenly split, no judgment made"] += 1
        return None, 0.0
    if 2 * len(good) < len(means):
        if verdicts.acted:
            counts["clicked or cited, but rated not relevant: the rating holds"] += 1
        return 0.0, 1 - len(good) / len(means)
    return graded(sum(good) / len(good), min_rating), len(good) / len(means)


def weight_of(votes: float) -> float:
    """The trust in so many people's clicks or citations: 0.5, 0.75, and 1 from the third on."""
    return min(1.0, ONE_VOTE + EACH_FURTHER_VOTE * (votes - 1))


def graded(mean: float, min_rating: float) -> float:
    """The grade of a good rating: 1 at `min_rating`, one more for each full point above it, at most 4."""
    return min(HIGHEST_GRADE, 1.0 + int(mean - min_rating))
