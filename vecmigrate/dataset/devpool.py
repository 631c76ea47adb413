"""The part of the corpus that the dev queries are searched in while training: small, so that it can be encoded again and again."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest

from vecmigrate.dataset.searching import Mining
from vecmigrate.records import Judgment, Query

POOL_SIZE = 2000
DEV_QUERIES = 500
NEIGHBOURS = 30


class Lottery:
    """Keeps the `size` ids that a seeded hash puts first, of any number offered, in whatever order they come."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._kept: list[tuple[int, str]] = []

    def offer(self, id: str) -> None:
        """Let the id take part."""
        drawn = int.from_bytes(hashlib.blake2b(f"{self._seed}\0{id}".encode("utf-8", "surrogatepass"), digest_size=8).digest())
        if len(self._kept) < self._size:
            heapq.heappush(self._kept, (-drawn, id))
        else:
            heapq.heappushpop(self._kept, (-drawn, id))

    @property
    def winners(self) -> list[str]:
        """The ids kept, first the first."""
        return [id for _, id in sorted(self._kept, reverse=True)]


def choose_dev_queries(queries: Sequence[Query], seed: int) -> list[Query]:
    """At most `DEV_QUERIES` of them, the same ones for the same seed, by id."""
    lottery = Lottery(DEV_QUERIES, seed)
    for query in queries:
        lottery.offer(query.id)
    chosen = set(lottery.winners)
    return sorted((query for query in queries if query.id in chosen), key=lambda query: query.id)


def pool_candidates(
    mining: Mining, queries: Sequence[Query], judgments: Mapping[str, Sequence[Judgment]], rest: Collection[str]
) -> list[str]:
    """The pool's ids, the most wanted first: judged ones, the control's nearest `NEIGHBOURS` of each query rank by rank, then `rest`."""
    judged = sorted({j.chunk_id for query in queries for j in judgments[query.id]})
    asked = mining.encoder.encode_queries([query.text for query in queries]) if queries else None
    by_query = [] if asked is None else mining.ranked(asked, NEIGHBOURS)
    near = [id for rank in zip_longest(*by_query) for id in rank if id is not None]
    size = max(POOL_SIZE, len(judged))
    return list(dict.fromkeys([*judged, *near, *rest]))[:size]
