"""A collection whose hashing vectors make neighbours of texts that share words, and a log whose queries are parts of its texts."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from vecmigrate.querylog import JudgedLog, JudgmentReport
from vecmigrate.records import Judgment, Query
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow

ENCODER = HashingEncoder(64)
START = datetime(2024, 1, 1, tzinfo=UTC)
WORDS = [f"{a}{b}" for a in ("ba", "do", "fi", "gu", "ke", "lo", "mi", "nu", "pa", "ro", "sa", "ti") for b in "bcdfghklmnprstvz"]


def corpus(n=120, seed=1):
    """{id: text} of eight random words each."""
    draw = random.Random(seed)
    return {f"c{i:03d}": " ".join(draw.sample(WORDS, 8)) for i in range(n)}


def store_of(texts, encoder=ENCODER):
    """A store of these texts, and its control."""
    vectors = encoder.encode_documents(list(texts.values()))
    store = MemoryStore([SourceRow(id, text, vector) for (id, text), vector in zip(texts.items(), vectors, strict=True)])
    return store, store.adopt(encoder.model)


def judged_log(queries, judgments):
    """A judged log of these queries and judgments, sorted as `judge` sorts."""
    queries = tuple(sorted(queries, key=lambda q: q.id))
    judgments = tuple(sorted(judgments, key=lambda j: (j.query_id, j.chunk_id)))
    positives = sum(j.grade > 0 for j in judgments)
    return JudgedLog(queries, judgments, JudgmentReport(len(queries), len(queries), len(judgments), positives))


def asked(texts, n=60, timed=True):
    """One query for each of the first `n` texts: its first four words, an hour apart."""
    ids = list(texts)[:n]
    queries = [
        Query(f"q{i:03d}", " ".join(texts[id].split()[:4]), at=START + timedelta(hours=i) if timed else None) for i, id in enumerate(ids)
    ]
    return judged_log(queries, [Judgment(f"q{i:03d}", id, 1.0, 0.5) for i, id in enumerate(ids)])
