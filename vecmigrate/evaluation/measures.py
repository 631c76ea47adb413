"""Retrieval measures as objects that parse and print as themselves, computed for all queries at once.

    hits + judgments ──grade──► Grades (one row per query) ──Measure.values──► one number per query

A chunk is relevant when its grade is above 0. Gain is linear in the grade, as in trec_eval. A chunk without a judgment counts
as not relevant, unless the measure is `judged_only`: then unjudged hits are taken out of the list first (the *condensed list*
of Sakai, SIGIR 2007), because a log knows only what the old ranker showed, and an unjudged hit need not be a bad one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vecmigrate.errors import DataError, UsageError
from vecmigrate.records import Hit, Judgment, Run

Values = NDArray[np.float64]
Qrels = Mapping[str, Mapping[str, float]]
"""Query id → chunk id → grade."""


@dataclass(frozen=True, slots=True)
class Grades:
    """What the judgments say about one system's hits for n queries, in the order of the queries.

    `found` has shape (n, depth): the grade of the hit at each rank, NaN where the hit is unjudged or the list has ended.
    `returned` has shape (n,): how many hits came back. `ideal` has shape (n, depth): the judged grades above 0, best first, then 0.
    `relevant` has shape (n,): how many chunks are relevant, wherever they were found.
    """

    found: Values
    returned: NDArray[np.int64]
    ideal: Values
    relevant: NDArray[np.int64]

    @property
    def depth(self) -> int:
        """How many ranks were looked at."""
        return int(self.found.shape[1])

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The rows of several, one after the other; all of one depth."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("found", "returned", "ideal", "relevant")))

    def condensed(self) -> Self:
        """The same lists without their unjudged hits; those below move up."""
        order = np.argsort(np.isnan(self.found), axis=1, kind="stable")
        found = np.take_along_axis(self.found, order, axis=1)
        return replace(self, found=found, returned=(~np.isnan(found)).sum(axis=1))


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """One measure, written `nDCG@10`; without a cutoff (`RR`, `AP`) it looks at all that was returned.

    `judged_only` is the condensed-list variant, written `nDCG(judged_only=True)@10` as in ir-measures.
    """

    name: str
    cutoff: int | None = None
    judged_only: bool = False

    def __str__(self) -> str:
        return self.name + "(judged_only=True)" * self.judged_only + (f"@{self.cutoff}" if self.cutoff else "")

    @property
    def explanation(self) -> str:
        """One line for people."""
        reach = f"top {self.cutoff}" if self.cutoff else "list"
        return _EXPLANATIONS[self.name].format(reach=reach) + "; unjudged hits taken out first" * self.judged_only

    def values(self, grades: Grades) -> Values:
        """Shape (n,), each from 0 to 1. A query without an answer, or without anything relevant, gets 0.

        Raises `UsageError` when the cutoff is deeper than the ranks that were looked at.
        """
        cutoff = self.cutoff or grades.depth
        if cutoff > grades.depth:
            raise UsageError(f"{self} needs {cutoff} ranks, the search went {grades.depth} deep", hint="take a smaller cutoff")
        return _FORMULAS[self.name](grades.condensed() if self.judged_only else grades, cutoff)


_WRITTEN = re.compile(r"(?P<name>[A-Za-z]+)(?P<judged>\(judged_only=True\))?(?:@(?P<cutoff>[0-9]{1,6}))?")
_ALIASES = {
    "ndcg": "nDCG",
    "recall": "Recall",
    "r": "Recall",
    "p": "P",
    "precision": "P",
    "rr": "RR",
    "mrr": "RR",
    "ap": "AP",
    "map": "AP",
    "judged": "Judged",
    "success": "Success",
}
_OPEN_ENDED = ("RR", "AP")
_EXPLANATIONS = {
    "nDCG": "graded relevance in the {reach}, discounted by rank, against the best possible order",
    "Recall": "share of the relevant chunks found in the {reach}",
    "P": "share of the {reach} that is relevant",
    "RR": "one over the rank of the first relevant chunk in the {reach} (its mean is the MRR)",
    "AP": "mean precision at each relevant chunk in the {reach} (its mean is the MAP)",
    "Judged": "share of the {reach} that anyone has judged",
    "Success": "share of queries with something relevant in the {reach}",
}


def parse_measure(written: str) -> Measure:
    """`nDCG@10`, `Recall@100`, `P@5`, `MRR`, `RR@10`, `MAP@100`, `Judged@10`, `Success@1`, `nDCG(judged_only=True)@10`.

    Case does not matter. Raises `UsageError` for anything else.
    """
    match = _WRITTEN.fullmatch(written.strip())
    name = _ALIASES.get(match["name"].lower()) if match else None
    if match is None or name is None:
        raise UsageError(f"measure {written!r} is unknown", hint="write nDCG@10, Recall@100, P@5, RR@10, AP@100, Success@1 or Judged@10")
    if match["cutoff"] is None and name not in _OPEN_ENDED:
        raise UsageError(f"measure {written!r} has no cutoff", hint=f"write {name}@10")
    if match["cutoff"] is not None and int(match["cutoff"]) == 0:
        raise UsageError(f"measure {written!r} looks at no rank at all", hint=f"write {name}@10")
    if match["judged"] and name == "Judged":
        raise UsageError(f"measure {written!r} is always 1", hint="write Judged@10")
    return Measure(name, int(match["cutoff"]) if match["cutoff"] else None, bool(match["judged"]))


def qrels(judgments: Iterable[Judgment]) -> dict[str, dict[str, float]]:
    """Judgments by query and chunk. Of several on one pair the highest counts; those of weight 0 are nobody's, and left out.

    Raises `DataError` for a grade that is not a finite number.
    """
    result: dict[str, dict[str, float]] = {}
    for judgment in judgments:
        if not np.isfinite(judgment.grade):
            raise DataError(
                f"the judgment of chunk {judgment.chunk_id!r} for query {judgment.query_id!r} has grade {judgment.grade}",
                hint="a grade is a finite number: 0 is not relevant, higher is better",
            )
        if judgment.weight > 0:
            grades = result.setdefault(judgment.query_id, {})
            grades[judgment.chunk_id] = max(judgment.grade, grades.get(judgment.chunk_id, judgment.grade))
    return result


def grade(rows: Sequence[Sequence[Hit]], judged: Sequence[Mapping[str, float]], depth: int) -> Grades:
    """Look up each hit in its query's judgments; `rows` and `judged` go together. Hits below `depth` are not looked at.

    Raises `DataError` when a list names a chunk twice: every measure would count it twice.
    """
    found = np.full((len(rows), depth), np.nan)
    ideal = np.zeros((len(rows), depth))
    for i, (row, known) in enumerate(zip(rows, judged, strict=True)):
        ids = [hit.chunk_id for hit in row[:depth]]
        if len(set(ids)) != len(ids):
            raise DataError("a search returned one chunk twice in one answer", hint="run `vecmigrate verify` on that version")
        found[i, : len(ids)] = [known.get(chunk, np.nan) for chunk in ids]
        best = sorted((g for g in known.values() if g > 0), reverse=True)[:depth]
        ideal[i, : len(best)] = best
    relevant = np.fromiter((sum(g > 0 for g in known.values()) for known in judged), np.int64, len(rows))
    returned = np.fromiter((min(len(row), depth) for row in rows), np.int64, len(rows))
    return Grades(found, returned, ideal, relevant)


def grade_run(run: Run, judgments: Qrels, query_ids: Sequence[str], depth: int = 100) -> Grades:
    """The grades of a run for these queries, in this order. A query that the run lacks is an unanswered one, and not left out."""
    return grade([run.hits.get(q, ()) for q in query_ids], [judgments.get(q, {}) for q in query_ids], depth)


def overlap(control: Sequence[Sequence[str]], candidate: Sequence[Sequence[str]], k: int) -> Values:
    """Shape (n,): the share of chunks that two top-k lists have in common, whatever their order. Two empty lists agree.

    Of lists of unequal length the longer one counts as the whole.
    """
    pairs = [(set(a[:k]), set(b[:k])) for a, b in zip(control, candidate, strict=True)]
    return np.array([len(a & b) / max(len(a), len(b)) if a or b else 1.0 for a, b in pairs], dtype=np.float64)


def _gains(grades: Grades, cutoff: int) -> Values:
    return np.nan_to_num(np.maximum(grades.found[:, :cutoff], 0.0), nan=0.0)


def _is_relevant(grades: Grades, cutoff: int) -> NDArray[np.bool_]:
    return grades.found[:, :cutoff] > 0


def _count(cells: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.asarray(cells.sum(axis=1), dtype=np.int64)


def _share(part: NDArray[np.float64] | NDArray[np.int64], whole: NDArray[np.float64] | NDArray[np.int64]) -> Values:
    result = np.zeros(len(part))
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def _ndcg(grades: Grades, cutoff: int) -> Values:
    """Järvelin and Kekäläinen, TOIS 2002, in trec_eval's form: linear gain, discount 1 / log2(rank + 1)."""
    discount = 1.0 / np.log2(np.arange(2, cutoff + 2))
    return _share(_gains(grades, cutoff) @ discount, grades.ideal[:, :cutoff] @ discount)


def _recall(grades: Grades, cutoff: int) -> Values:
    return _share(_count(_is_relevant(grades, cutoff)), grades.relevant)


def _precision(grades: Grades, cutoff: int) -> Values:
    """Over k, not over the number returned, as in trec_eval: a short list is not a better one."""
    return _share(_count(_is_relevant(grades, cutoff)), np.full(len(grades.found), cutoff))


def _reciprocal_rank(grades: Grades, cutoff: int) -> Values:
    hit = _is_relevant(grades, cutoff)
    return _share(_success(grades, cutoff), np.asarray(hit.argmax(axis=1) + 1, dtype=np.int64))


def _average_precision(grades: Grades, cutoff: int) -> Values:
    """trec_eval's map_cut: precision at each relevant rank, summed, over all that is relevant."""
    hit = _is_relevant(grades, cutoff)
    found_so_far = np.cumsum(hit, axis=1) * hit
    return _share(found_so_far @ (1.0 / np.arange(1, cutoff + 1)), grades.relevant)


def _judged(grades: Grades, cutoff: int) -> Values:
    """Over what was returned, as in ir-measures; an empty list has nothing judged."""
    judged = _count(~np.isnan(grades.found[:, :cutoff]))
    return _share(judged, np.minimum(grades.returned, cutoff))


def _success(grades: Grades, cutoff: int) -> Values:
    return np.asarray(_is_relevant(grades, cutoff).any(axis=1), dtype=np.float64)


_FORMULAS: Mapping[str, Callable[[Grades, int], Values]] = {
    "nDCG": _ndcg,
    "Recall": _recall,
    "P": _precision,
    "RR": _reciprocal_rank,
    "AP": _average_precision,
    "Judged": _judged,
    "Success": _success,
}
