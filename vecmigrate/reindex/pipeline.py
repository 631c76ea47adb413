"""Scan, encode and load at the same time, holding at most three windows of chunks in memory.

    pending ──(reader thread)──► encode (this thread) ──(writer thread)──► load

The encoder is nearly all of the cost, so reading and writing hide behind it. A window is sorted by length and goes through in parts that
take a few seconds each. A part that is loaded is finished work: what a killed run left undone is what `Store.pending` yields the next time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from vecmigrate.encoding.encoder import Encoder
from vecmigrate.records import Chunk
from vecmigrate.reindex.bringing import Brought, bring_in, vectors_for
from vecmigrate.retrying import retry_transient
from vecmigrate.store import Store, Vectors
from vecmigrate.versions import IndexVersion

WINDOW = 2048
"""Chunks sorted by length together: enough that batches of one length waste about 1 % on padding."""
FIRST_PART = 512
PART_SECONDS = 10.0
"""About how long a part is encoded: that much work a kill can cost, and so often progress is told. At the end of each part a thread waits
for the others, which costs about a tenth of a second.
"""

T = TypeVar("T")

OnLoaded = Callable[[Sequence[Chunk], int], None]
"""Called after each part is in the store: its chunks, and how many of them were longer than the model reads."""


def fill(store: Store, version: IndexVersion, encoder: Encoder, on_loaded: OnLoaded) -> Brought:
    """Bring every pending chunk into `version`, and once more those whose row changed meanwhile.

    Raises whatever the store or the encoder raises; parts loaded before stay loaded.
    """
    loaded = 0
    outrun: list[str] = []
    with ThreadPoolExecutor(1, "reader") as reader, ThreadPoolExecutor(1, "writer") as writer:
        writing: Future[None] | None = None
        windows = store.pending(version, batch_size=WINDOW)
        for chunks in _parts(_one_ahead(reader, windows)):
            vectors = vectors_for(store, version, encoder, chunks)
            truncated = encoder.count_truncated([c.text for c in chunks])
            if writing is not None:
                writing.result()
            writing = writer.submit(_write, store, version, chunks, vectors, outrun)
            writing.add_done_callback(_report(on_loaded, chunks, truncated))
            loaded += len(chunks)
        if writing is not None:
            writing.result()
    return Brought(loaded) + bring_in(store, version, encoder, outrun)


def _parts(windows: Iterator[Sequence[Chunk]]) -> Iterator[Sequence[Chunk]]:
    """The windows, each from its shortest text to its longest, in parts whose size follows from how long the last one took."""
    size = FIRST_PART
    for window in windows:
        rest = sorted(window, key=lambda chunk: len(chunk.text))
        while rest:
            part, rest = rest[:size], rest[size:]
            start = time.monotonic()
            yield part
            took = time.monotonic() - start
            if len(part) == size and took < PART_SECONDS / 2:
                size = min(2 * size, WINDOW)
            elif took > PART_SECONDS:
                size = max(size // 2, FIRST_PART // 2)


def _write(store: Store, version: IndexVersion, chunks: Sequence[Chunk], vectors: Vectors, outrun: list[str]) -> None:
    outrun += retry_transient(lambda: store.load(version, chunks, vectors))


def _report(on_loaded: OnLoaded, chunks: Sequence[Chunk], truncated: int) -> Callable[[Future[None]], None]:
    def done(future: Future[None]) -> None:
        if future.exception() is None:
            on_loaded(chunks, truncated)

    return done


def _one_ahead(pool: ThreadPoolExecutor, items: Iterator[T]) -> Iterator[T]:
    """The items in their order, each fetched while the one before it is being worked on."""
    missing = object()
    upcoming = pool.submit(next, items, missing)
    while (item := upcoming.result()) is not missing:
        upcoming = pool.submit(next, items, missing)
        yield item  # type: ignore[misc]  # the sentinel is the only other thing that comes out
