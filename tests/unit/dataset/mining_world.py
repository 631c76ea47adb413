"""Chunks in a plane, at angles that say how similar they are to a query, and what is mined of them."""

from __future__ import annotations

import numpy as np

from vecmigrate.config import DatasetSection
from vecmigrate.dataset.judged import Judged
from vecmigrate.dataset.negatives import mine
from vecmigrate.dataset.searching import Mining
from vecmigrate.records import Judgment, Query
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import Metric

QUERY = Query("q", "0", group="g")

# The positive at 20°, cosine 0.940; the limit at 0.95 of that is 0.893, which is 26.8°. Near-duplicates of it lie within 18.2°.
POSITIVE = Judgment("q", "pos", 1.0, 0.75)
ABOVE = {f"above{i}": 1 + i for i in range(4)}


class Compass:
    """An encoder of two dimensions, whose texts are directions in degrees: the cosine of two is that of their difference."""

    model = HashingEncoder(2).model

    def encode_queries(self, texts):
        angles = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    encode_documents = encode_queries

    def count_truncated(self, texts):
        return 0


def world(angles, metric=Metric.COSINE, lengths=None):
    """A store of chunks at these angles {id: degrees}, whose vectors may have lengths."""
    vectors = Compass().encode_documents([str(angle) for angle in angles.values()])
    for place, id in enumerate(angles):
        vectors[place] *= (lengths or {}).get(id, 1.0)
    rows = [SourceRow(id, f"{id} at {angle}", vector) for (id, angle), vector in zip(angles.items(), vectors, strict=True)]
    store = MemoryStore(rows, metric=metric, dimension=2)
    return store, store.adopt(Compass.model)


def mined(
    angles,
    judgments,
    *,
    queries=(QUERY,),
    hashes=None,
    documents=None,
    passed_over=None,
    metric=Metric.COSINE,
    lengths=None,
    scorer=None,
    blocks=None,
    **settings,
):
    store, control = world(angles, metric, lengths)
    by_query = {query.id: [j for j in judgments if j.query_id == query.id] for query in queries}
    relevant = {}
    for query in queries:
        relevant[query.group] = relevant.get(query.group, frozenset()) | {j.chunk_id for j in by_query[query.id] if j.grade > 0}
    mining = Mining(store, control, Compass(), DatasetSection(**settings), exact=True, chunks=blocks, scorer=scorer)
    found = mine(mining, queries, Judged(by_query, relevant, hashes or {}, documents or {}, passed_over or {}))
    return found.pairs, found.report
