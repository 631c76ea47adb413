"""What training reads of a dataset: pairs with hard negatives, and a small dev set to stop by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vecmigrate.records import Judgment, Query


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """A query's text, the text of a chunk that answers it, and texts of chunks that look alike but don't. `weight` is trust, 0 to 1;
    `grade` is how well it answers, as judged.
    """

    query_id: str
    chunk_id: str
    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    weight: float = 1.0
    grade: float = 1.0


@dataclass(frozen=True, slots=True)
class GradedPair:
    """A training query's text, a judged chunk's text, and the judgment: grade 0 is "not relevant", said by people."""

    query_id: str
    chunk_id: str
    query: str
    text: str
    grade: float
    weight: float


@dataclass(frozen=True, slots=True)
class DevSet:
    """Held-out queries with judgments, searched in `pool` (chunk id → text): every judged chunk, the control's nearest ones, and a
    random rest. The pool is a part of the corpus, so its scores are higher than the corpus's; only their differences count.
    """

    queries: tuple[Query, ...]
    judgments: tuple[Judgment, ...]
    pool: Mapping[str, str]
