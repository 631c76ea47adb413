"""One operator per collection on a Chroma server: turns, each a collection that can be created only once.

    lock.00000007 {holder, expires}  ──released or expired──►  whoever creates lock.00000008 has the next turn

Turn numbers never go back, because the highest is always kept. A holder that lives renews its turn; of one that was killed on this
machine the next caller knows at once, of one on another machine when the turn expires. Times are the server's.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from vecmigrate.errors import Conflict, VecmigrateError
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.naming import lock_name

LEASE_SECONDS = 90.0
RENEW_SECONDS = 20.0


class ServerLease:
    """One store's way to a turn."""

    def __init__(self, driver: Driver, collection: str) -> None:
        self._driver = driver
        self._collection = collection

    def write(self) -> None:
        """A server takes any number of writers."""

    def release(self) -> None:
        """Nothing is held between operations."""

    def refuse_without_room(self, rows: int, dimension: int) -> None:
        """A server's disk can't be seen from here."""

    @contextmanager
    def operation(self, what: str, *, actor: str) -> Iterator[None]:
        """Hold the collection until the block ends. Raises `Conflict` naming the holder."""
        record = {"vecmigrate": "lock", "actor": actor, "what": what, **_this_process()}
        turn = self._take(record)
        stop = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(turn, record, stop), daemon=True, name="vecmigrate-lease")
        renewal.start()
        try:
            yield
        finally:
            stop.set()
            renewal.join()
            self._mark(turn, {**record, "released": True})

    def _take(self, record: Mapping[str, Any]) -> int:
        turn, holder = self._highest()
        if holder is not None and not self._is_over(holder):
            raise Conflict(
                f"{self._collection} is held by {_described(holder)}", hint="wait until it is done; a dead holder's turn expires"
            )
        mine = self._driver.create(lock_name(self._collection, turn + 1), self._renewed(record))
        highest, holder = self._highest()
        if mine is None or highest != turn + 1:
            if mine is not None:
                self._driver.delete(lock_name(self._collection, turn + 1))
            raise Conflict(f"{self._collection} is held by {_described(holder or {})}", hint="wait until it is done")
        for past in range(max(1, turn - 8), turn + 1):
            self._driver.delete(lock_name(self._collection, past))
        return turn + 1

    def _highest(self) -> tuple[int, Mapping[str, Any] | None]:
        """The last turn and its record."""
        names = self._driver.names(lock_name(self._collection, 0)[:-8])
        turn = max((int(name[-8:]) for name in names), default=0)
        found = self._driver.find(lock_name(self._collection, turn)) if turn else None
        return turn, dict(found.metadata or {}) if found is not None else None

    def _is_over(self, record: Mapping[str, Any]) -> bool:
        if record.get("released"):
            return True
        here = _this_process()
        if record.get("where") == here["where"] and record.get("started") != _started(int(record.get("pid", 0))):
            return True
        return self._driver.now() > datetime.fromisoformat(str(record.get("expires")))

    def _renewed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        return {**record, "expires": (self._driver.now() + timedelta(seconds=LEASE_SECONDS)).isoformat()}

    def _renew(self, turn: int, record: Mapping[str, Any], stop: threading.Event) -> None:
        while not stop.wait(RENEW_SECONDS):
            self._mark(turn, record)

    def _mark(self, turn: int, record: Mapping[str, Any]) -> None:
        """Renew or release. When the server is away, the turn expires by itself."""
        try:
            found = self._driver.find(lock_name(self._collection, turn))
            if found is not None:
                metadata = self._renewed(record)
                self._driver.call("renewing the lock", lambda: found.modify(metadata=metadata))
        except VecmigrateError:
            return


def _this_process() -> dict[str, Any]:
    """Who and where we are. `where` is this boot and process namespace: only there does a process id mean the same process."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "where": _where(), "started": _started(os.getpid())}


def _where() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return uuid4().hex


def _started(pid: int) -> str:
    """When the process started, in ticks since boot, which tells a reused process id. Empty when it is gone or a zombie."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def _described(record: Mapping[str, Any]) -> str:
    if not record:
        return "another operator"
    return f"{record.get('actor')} ({record.get('what')}), process {record.get('pid')} on {record.get('host')}"
