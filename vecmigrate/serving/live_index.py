"""Keeps every maintained version current while an application writes: the text first, then each version by its own model.

    write ─► encode for all ─► the source (text, metadata, v0's vector) ─► read which versions there are ─► bring the rows into each

The versions are read *after* the source was written, so one that is not complete yet finds the row in its own scan, and none is between.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vecmigrate.encoding.encoder import Encoder, EncoderSource
from vecmigrate.errors import StoreError, VecmigrateError, VersionRetired
from vecmigrate.live import Serving
from vecmigrate.reindex import bring_in
from vecmigrate.serving.following import OUTAGE_GRACE, Following
from vecmigrate.store import Store, Vectors
from vecmigrate.versions import SEARCHABLE, IndexVersion, ModelVersion, State

_LOG = logging.getLogger("vecmigrate")

REMEMBERED = 4096
"""Encoded documents that are remembered: 6 MiB of 384 dimensions."""
MOST_WAITING = 1000
"""Queued writes, each of one call; a further one waits until there is room."""


class _Remembered:
    """An encoder that has the vectors of the last documents at hand: what is written is encoded once, however often it is asked for."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def model(self) -> ModelVersion:
        return self._encoder.model

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._encoder.encode_queries(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            known = {text: self._kept[text] for text in texts if text in self._kept}
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        if fresh:
            encoded = dict(zip(fresh, self._encoder.encode_documents(fresh), strict=True))
            known |= encoded
            self._keep(encoded)
        return np.stack([known[text] for text in texts])

    def count_truncated(self, texts: Sequence[str]) -> int:
        return self._encoder.count_truncated(texts)

    def _keep(self, encoded: dict[str, NDArray[np.float32]]) -> None:
        with self._lock:
            self._kept |= encoded
            while len(self._kept) > max(REMEMBERED, len(encoded)):
                self._kept.popitem(last=False)


class LiveIndex:
    """What `vecmigrate.live.Live` asks for, over a store and its models.

    With `queued` a write returns when the source has it, and a thread brings it into the versions; `flush` waits for that. What a killed
    process had queued is in the source, and the next sync brings it in.
    """

    def __init__(
        self,
        store: Store,
        encoders: EncoderSource,
        *,
        pointer_ttl: float = 0.0,
        outage_grace: float = OUTAGE_GRACE,
        queued: bool = False,
    ) -> None:
        self._store = store
        self._encoders = encoders
        self._following = Following(store, ttl=pointer_ttl, grace=outage_grace)
        self._ready: dict[str, _Remembered] = {}
        self._warned: set[str] = set()
        self._queue: queue.Queue[Sequence[str] | None] = queue.Queue(MOST_WAITING)
        self._closed = False
        self._failed: deque[Sequence[str]] = deque()
        self._worker = threading.Thread(target=self._work, daemon=True, name="vecmigrate-live") if queued else None
        if self._worker is not None:
            self._worker.start()

    def serving(self, *, fresh: bool = False) -> Serving:
        """See `vecmigrate.live.Live.serving`."""
        if fresh:
            self._following.forget_versions()
        return self._following.serving(fresh=fresh)

    def encode_queries(self, version: IndexVersion, texts: Sequence[str]) -> Vectors:
        """By the version's model."""
        return self._encoder(version).encode_queries(texts)

    def encode_documents(self, version: IndexVersion, texts: Sequence[str]) -> Vectors:
        """By the version's model."""
        return self._encoder(version).encode_documents(texts)

    def prepare(self, texts: Sequence[str]) -> None:
        """Encode for every maintained version. What only a standby's model can't do does not stop a write. Raises `PreflightRefused` after
        `close`.
        """
        self._following.require_open()
        for version, serves in self._maintained() if texts else ():
            try:
                self.encode_documents(version, texts)
            except VecmigrateError:
                if serves:
                    raise

    def changed(self, ids: Sequence[str]) -> None:
        """Bring these rows in, or queue them."""
        if self._worker is not None:
            self._queue.put(tuple(ids))
        else:
            self._bring(ids)

    @property
    def waiting(self) -> int:
        """Writes that are queued and not in every version yet."""
        return self._queue.unfinished_tasks

    def flush(self) -> None:
        """Wait for the queue. What failed there is tried once more and raised here; a further flush tries again."""
        self._queue.join()
        while self._failed:
            self._bring(self._failed[0])
            self._failed.popleft()

    def close(self) -> None:
        """Flush, stop the thread, close the store. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._following.close()
        try:
            self.flush()
        finally:
            if self._worker is not None and self._worker.is_alive():
                self._queue.put(None)
                self._worker.join()
            self._store.close()

    def _work(self) -> None:
        while (ids := self._queue.get()) is not None:
            try:
                self._bring(ids)
            except Exception as error:  # whatever it is, flush raises it again, and the thread lives
                _LOG.warning("%d rows are in the source but not in every version: %s", len(ids), error)
                self._failed.append(ids)
            finally:
                self._queue.task_done()
        self._queue.task_done()

    def _bring(self, ids: Sequence[str]) -> None:
        """Into the version that serves first. A standby that can't be kept current is told of; a sync finds what it lacks."""
        for version, serves in self._maintained():
            try:
                bring_in(self._store, version, self._encoder(version), ids)
            except VersionRetired:
                continue
            except VecmigrateError as error:
                if serves:
                    raise StoreError(
                        f"written to the source, but not brought into {version.name}, which serves: {error.message}",
                        hint=f"write it again, or run vecmigrate shadow sync {version.label}",
                    ) from error
                self._warn(version, error)

    def _maintained(self) -> list[tuple[IndexVersion, bool]]:
        """Versions of ours that hold everything, and whether their vectors serve; those first. One that is still being built reads the source
        after this, and finds what was written. One that shares another's vectors is kept current with that one, once.
        """
        versions = self._store.versions()
        serving = {v.holder for v in versions if v.state is State.ACTIVE}
        kept = [(v, v.number in serving) for v in versions if v.number and not v.shares and v.state in SEARCHABLE]
        return sorted(kept, key=lambda each: not each[1])

    def _warn(self, version: IndexVersion, error: VecmigrateError) -> None:
        if version.name not in self._warned:
            self._warned.add(version.name)
            _LOG.warning("%s falls behind: %s; vecmigrate shadow sync %s brings it up to date", version.name, error.message, version.label)

    def _encoder(self, version: IndexVersion) -> _Remembered:
        fingerprint = version.model.fingerprint
        if fingerprint not in self._ready:
            self._ready[fingerprint] = _Remembered(self._encoders.encoder_for(version))
        return self._ready[fingerprint]
