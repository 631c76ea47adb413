"""Which chunks may serve a query as negatives: what is relevant, or may well be, is kept out, and each refusal has a reason.

the query's     relevant to its group ─ the same as a relevant one, nearly so, or of its document ─ without a vector
the pair's      too near the query for its relevant chunk's similarity
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from vecmigrate.config import DatasetSection
from vecmigrate.dataset.judged import Judged
from vecmigrate.dataset.searching import Unit
from vecmigrate.records import Query

RELEVANT = "relevant to the query or to another wording of it"
NEARLY_THE_SAME = "nearly the same as a relevant chunk"
SAME_DOCUMENT = "of the same document as a relevant chunk"
NO_VECTOR = "no vector"
NOTHING_TO_COMPARE = "their relevant chunk has no vector to compare with"
POINTS_AWAY = "their relevant chunk is not similar to the query at all"


class Screen:
    """Tells for one query which chunks may serve, and why not the others. `vector` is the query's, of length 1."""

    def __init__(self, query: Query, vector: NDArray[np.float32], units: Unit, judged: Judged, settings: DatasetSection) -> None:
        self._vector = vector
        self._units = units
        self._judged = judged
        self._settings = settings
        self._relevant = judged.relevant_to_group[query.group]
        self._texts = {judged.hashes[id] for id in self._relevant if id in judged.hashes}
        self._documents = {judged.documents[id] for id in self._relevant if id in judged.documents}
        near = [units[id] for id in sorted(self._relevant) if id in units]
        self._near = np.stack(near) if near else np.zeros((0, len(vector)), dtype=np.float32)

    def why_not(self, id: str) -> str:
        """Why the chunk is no negative for any of the query's pairs; empty when it may be one."""
        if reason := self.why_relevant(id):
            return reason
        if self._judged.documents.get(id) in self._documents:
            return SAME_DOCUMENT
        return "" if id in self._units else NO_VECTOR

    def why_relevant(self, id: str) -> str:
        """Why the chunk is as good as relevant, whatever users said of it; empty when it isn't."""
        if id in self._relevant:
            return RELEVANT
        same = self._judged.hashes.get(id) in self._texts
        near = (
            id in self._units and len(self._near) and float(np.max(self._near @ self._units[id])) >= self._settings.negative_near_duplicate
        )
        return NEARLY_THE_SAME if same or near else ""

    def similarity(self, id: str) -> float | None:
        """The cosine of chunk and query; None without a vector."""
        return float(self._vector @ self._units[id]) if id in self._units else None

    def why_too_near(self, similarity: float, positive: float | None) -> str:
        """Why a candidate so similar to the query may be an unjudged answer beside a relevant chunk so similar; empty when it hardly is."""
        if positive is None:
            return NOTHING_TO_COMPARE
        if positive <= 0:
            return POINTS_AWAY
        settings = self._settings
        share, most, margin = settings.negative_max_relative_score, settings.negative_max_score, settings.negative_margin
        if similarity > share * positive:
            return f"more than {share:g} times as similar to the query as its relevant chunk"
        if most is not None and similarity > most:
            return f"a similarity to the query above {most:g}"
        if margin is not None and positive - similarity < margin:
            return f"less than {margin:g} less similar to the query than its relevant chunk"
        return ""

    def screened(self, ids: Iterable[str]) -> Iterator[tuple[str, str, float]]:
        """Each id with the reason that keeps it out for all pairs, or its similarity to the query."""
        for id in ids:
            yield id, self.why_not(id), self.similarity(id) or 0.0
