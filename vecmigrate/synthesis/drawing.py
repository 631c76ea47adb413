"""Which chunks queries are made from: a seeded draw in one scan, the same whatever the order of the scan, in memory of the drawn ones."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from vecmigrate.records import Chunk
from vecmigrate.store import Source

SHORTEST = 40
"""Characters; of less text hardly more than the text itself can be made."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The chunks, in the order drawn, of `seen` in the store. `passed_over` counts by reason those that were not to be had."""

    chunks: tuple[Chunk, ...]
    seen: int
    passed_over: Mapping[str, int] = field(default_factory=dict)


def draw_chunks(store: Source, most: int, seed: int) -> Drawn:
    """At most `most` chunks of different texts, each of at least `SHORTEST` characters. Raises what the store raises."""
    kept: list[tuple[int, str, Chunk]] = []
    passed_over: Counter[str] = Counter()
    seen = 0
    for batch in store.scan():
        for chunk in batch:
            seen += 1
            if len(chunk.text.strip()) < SHORTEST:
                passed_over[f"shorter than {SHORTEST} characters"] += 1
                continue
            _offer(kept, (-_ticket(seed, chunk.id), chunk.id, chunk), most)
    ordered = [chunk for _, _, chunk in sorted(kept, key=lambda item: (-item[0], item[1]))]
    first = {chunk.text_hash: chunk for chunk in reversed(ordered)}
    chunks = tuple(chunk for chunk in ordered if first[chunk.text_hash] is chunk)
    passed_over["the same text as another chunk that was drawn"] += len(ordered) - len(chunks)
    return Drawn(chunks, seen, dict(+passed_over))


def _offer(kept: list[tuple[int, str, Chunk]], entry: tuple[int, str, Chunk], most: int) -> None:
    if len(kept) < most:
        heapq.heappush(kept, entry)
    elif entry[:2] > kept[0][:2]:
        heapq.heapreplace(kept, entry)


def _ticket(seed: int, id: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{id}".encode("utf-8", "surrogatepass"), digest_size=8).digest())
