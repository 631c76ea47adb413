"""Which version serves, as readers see it: read from the store, remembered for a stated time, and kept through a short outage."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace

from vecmigrate.errors import NotFound, PreflightRefused, StoreUnavailable, UsageError
from vecmigrate.live import Serving
from vecmigrate.store import Store
from vecmigrate.versions import IndexVersion, Pointer

_LOG = logging.getLogger("vecmigrate")

OUTAGE_GRACE = 60.0
"""Seconds for which readers keep to the version they know while the pointer can't be read."""
ASK_AGAIN = 1.0
"""Seconds between two attempts to read a pointer that can't be read: each costs the retries of the store's client."""


@dataclass(frozen=True, slots=True)
class _Known:
    serving: Serving
    read: float
    asked: float


class Following:
    """Follows the pointer of one store. Safe to share between threads.

    `ttl` (seconds) is how long the pointer is remembered, so how long after a flip a reader may still be answered by the version before.
    `grace` (seconds) is how long it is kept while the store does not answer when asked for it; `Serving.age` tells.
    """

    def __init__(self, store: Store, *, ttl: float = 0.0, grace: float = OUTAGE_GRACE) -> None:
        given: dict[str, object] = {"pointer_ttl": ttl, "outage_grace": grace}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise UsageError(f"{name} is {value!r}", hint="a number of seconds, 0 or more")
        self._store = store
        self._closed = False
        self._ttl = ttl
        self._grace = grace
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._out = False
        self._versions: dict[int, IndexVersion] = {}

    def serving(self, *, fresh: bool = False) -> Serving:
        """The version that serves. Raises `PreflightRefused` before `adopt`, `StoreUnavailable` after the grace, or at once for `fresh`."""
        self.require_open()
        now = time.monotonic()
        with self._lock:
            known, pause = self._known, ASK_AGAIN if self._out else self._ttl
        if known is not None and not fresh and now - known.asked < pause and now - known.read < max(self._ttl, self._grace):
            return replace(known.serving, age=now - known.read)
        try:
            pointer = self.pointer()
            version = self._version(pointer)
        except StoreUnavailable as error:
            if known is None or fresh or now - known.read >= self._grace:
                raise
            return self._as_last_known(known, error)
        serving = Serving(pointer, version)
        with self._lock:
            self._out = False
            if self._known is None or self._known.serving.pointer.epoch <= pointer.epoch:  # another thread may have read a later one
                self._known = _Known(serving, now, now)
        return serving

    def close(self) -> None:
        """Nothing is followed any more."""
        self._closed = True

    def require_open(self) -> None:
        """Raise `PreflightRefused` after `close`."""
        if self._closed:
            raise PreflightRefused(f"{self._store.collection} was closed: nothing more is read or written through it", hint="open it again")

    def pointer(self) -> Pointer:
        """The pointer as it is now. Raises `PreflightRefused` before `adopt` and after `close`."""
        self.require_open()
        pointer = self._store.pointer()
        if pointer is None:
            raise PreflightRefused(f"{self._store.collection} has no serving pointer yet", hint="vecmigrate shadow build adopts the store")
        return pointer

    def forget_versions(self) -> None:
        """Read them again: one of them has gone."""
        with self._lock:
            self._versions.clear()

    def _as_last_known(self, known: _Known, error: StoreUnavailable) -> Serving:
        now = time.monotonic()
        with self._lock:
            self._known = replace(self._known or known, asked=now)
            first, self._out = not self._out, True
        name, age = known.serving.version.name, now - known.read
        if first:
            _LOG.warning(
                "the pointer can't be read (%s); answering from %s, read %.0f s ago, for up to %.0f s",
                error.message,
                name,
                age,
                self._grace,
            )
        return replace(known.serving, age=age)

    def _version(self, pointer: Pointer) -> IndexVersion:
        """A version's model never changes while it is there, so each is read once; a store refuses a number that is another model's by now."""
        with self._lock:
            version = self._versions.get(pointer.active)
        if version is not None:
            return version
        found = {v.number: v for v in self._store.versions()}
        if pointer.active not in found:
            raise NotFound(f"{pointer.collection}@v{pointer.active} serves but is not registered", hint="vecmigrate doctor")
        with self._lock:
            self._versions.update(found)
        return found[pointer.active]
