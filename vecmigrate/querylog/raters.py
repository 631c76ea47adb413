"""What several people said of one query and one chunk, as one judgment: the mean grade, weighted by how far they agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from vecmigrate.querylog.verdicts import HIGHEST_GRADE
from vecmigrate.records import Judgment

Opinions = dict[str, float]
"""Grade by rater; where a file names no raters, each of its rows is one."""


@dataclass(slots=True)
class Ballot:
    """Opinions by query id and chunk id, as they come in."""

    pairs: dict[tuple[str, str], Opinions] = field(default_factory=dict)
    lowest: float = float("inf")
    highest: float = float("-inf")

    def add(self, query_id: str, chunk_id: str, rater: str, grade: float) -> None:
        """One rater's grade; the same rater's later one replaces it."""
        self.pairs.setdefault((query_id, chunk_id), {})[rater] = grade
        self.lowest, self.highest = min(self.lowest, grade), max(self.highest, grade)


def agreed(ballot: Ballot, min_grade: float | None, set_aside: Counter[str]) -> list[Judgment]:
    """The judgments, by query and chunk. A grade is relevant from `min_grade` on; without one, when it is above 0.

    The majority says whether the chunk is relevant, and its share is the weight; the grade is then the mean of all, or 0. With a
    `min_grade`, the grade is 1 for a mean there and one more for each point above, at most 4, as for a log's ratings. Where raters are
    evenly split there is no judgment, which `set_aside` counts.
    """
    found = []
    for (query_id, chunk_id), opinions in sorted(ballot.pairs.items()):
        good = sum(_relevant(grade, min_grade) for grade in opinions.values())
        if 2 * good == len(opinions):
            set_aside["raters evenly split, no judgment made"] += 1
            continue
        if len(opinions) > 1:
            set_aside["judged by several raters: mean grade, weighted by the majority's share"] += 1
        mean = sum(opinions.values()) / len(opinions)
        if 2 * good > len(opinions):
            found.append(Judgment(query_id, chunk_id, _grade(mean, min_grade), good / len(opinions)))
        else:
            found.append(Judgment(query_id, chunk_id, 0.0, 1 - good / len(opinions)))
    return found


def scale_warnings(ballot: Ballot, min_grade: float | None) -> tuple[str, ...]:
    """Grades that differ and are all relevant are often a scale whose lower end nobody has named."""
    if min_grade is not None or not 0 < ballot.lowest < ballot.highest:
        return ()
    return (f"all grades, from {ballot.lowest:g} to {ballot.highest:g}, count as relevant; say from where on one is good: --min-grade N",)


def _grade(mean: float, min_grade: float | None) -> float:
    """Above 0, whatever the minority said."""
    if min_grade is None:
        return mean if mean > 0 else 1.0
    return min(HIGHEST_GRADE, 1.0 + max(0.0, mean - min_grade))


def _relevant(grade: float, min_grade: float | None) -> bool:
    return grade > 0 if min_grade is None else grade >= min_grade
