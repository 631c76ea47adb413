"""One writer per persistent directory: two that write to it at once destroy its index without an error.

The lock is a file lock of the operating system on `.vecmigrate.lock`, so a killed holder is never in the way. Processes that know
nothing of the lock are found by their open files where the system shows them (/proc on Linux).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vecmigrate.errors import AccessDenied, Conflict, PreflightRefused

LOCK_FILE = ".vecmigrate.lock"
LOOKS = 4
PAUSE = 0.15
"""Seconds between two looks at other processes: a command that only reads is gone in a moment."""


@dataclass(slots=True)
class _Held:
    descriptor: int
    stores: int = 0
    operators: dict[str, str] = field(default_factory=dict)


_HELD: dict[Path, _Held] = {}
_GUARD = threading.Lock()


class Directory:
    """One store's part in the lock on its directory; all stores of a process share the lock."""

    def __init__(self, path: Path, collection: str) -> None:
        self._path = path.resolve()
        self._collection = collection
        self._writing = False

    def write(self) -> None:
        """Become the writer, before the first write. Idempotent; kept until `release`.

        Raises `Conflict` when another vecmigrate process is the writer, `PreflightRefused` when any other process has the directory open.
        """
        with _GUARD:
            if self._writing:
                return
            held = _HELD.get(self._path)
            if held is None:
                held = _Held(_lock(self._path))
                try:
                    self._refuse_others()
                except BaseException:
                    os.close(held.descriptor)
                    raise
                _HELD[self._path] = held
            held.stores += 1
            self._writing = True

    @contextmanager
    def operation(self, what: str, *, actor: str) -> Iterator[None]:
        """Hold the collection within and beyond this process. Raises `Conflict` naming the holder."""
        self.write()
        with _GUARD:
            held = _HELD[self._path]
            if self._collection in held.operators:
                raise Conflict(f"{self._collection} is held by {held.operators[self._collection]}", hint="wait until it is done")
            held.operators[self._collection] = f"{actor} ({what}), process {os.getpid()}"
            _note(held)
        try:
            yield
        finally:
            with _GUARD:
                held.operators.pop(self._collection, None)
                if _HELD.get(self._path) is held:
                    _note(held)

    def release(self) -> None:
        """Stop being the writer; with the process's last store the lock is given back."""
        with _GUARD:
            held = _HELD.get(self._path)
            if not self._writing or held is None:
                return
            self._writing = False
            held.stores -= 1
            if held.stores == 0:
                del _HELD[self._path]
                os.close(held.descriptor)

    def refuse_without_room(self, rows: int, dimension: int) -> None:
        """Raise `PreflightRefused` when the disk has no room for another version of this size."""
        refuse_without_room(shutil.disk_usage(self._path).free, rows, dimension, str(self._path))

    def _refuse_others(self) -> None:
        for look in range(LOOKS):
            others = other_processes(self._path)
            if not others:
                return
            if look + 1 < LOOKS:
                time.sleep(PAUSE)
        named = "; ".join(f"{pid} ({command})" for pid, command in others[:3])
        raise PreflightRefused(
            f"{self._path} is open in other processes: {named}. Two that write to one directory destroy its index without an error",
            hint=f"stop them, or let all of them use a server: chroma run --path {self._path} --port 8000, and url in [store] for path",
        )


def room_needed(rows: int, dimension: int) -> int:
    """Bytes that a further version may take: the vectors in the log and in the index, and as much again while it is written."""
    return 2 * 2 * rows * dimension * 4


def refuse_without_room(free: int, rows: int, dimension: int, place: str) -> None:
    """Raise `PreflightRefused` with the figures when `free` bytes are too few."""
    needed = room_needed(rows, dimension)
    if free < needed:
        raise PreflightRefused(
            f"{place}: {rows:,} vectors of {dimension} need about {needed / 2**20:,.0f} MiB, and {free / 2**20:,.0f} MiB are free",
            hint=f"free space; what dropped versions held comes back by chroma vacuum --path {place}",
        )


def other_processes(path: Path) -> list[tuple[int, str]]:
    """Processes other than this one that hold the directory's database open: (process id, command). Only what the system shows us."""
    database = str(path / "chroma.sqlite3")
    listed = Path("/proc").iterdir() if Path("/proc").is_dir() else ()
    others = (entry for entry in listed if entry.name.isdigit() and int(entry.name) != os.getpid())
    return sorted((int(entry.name), _command(entry)) for entry in others if _has_open(entry, database))


def _has_open(process: Path, file: str) -> bool:
    try:
        return any(str(link.readlink()) == file for link in (process / "fd").iterdir())
    except OSError:
        return False


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:80]
    except OSError:
        return "?"


def _lock(path: Path) -> int:
    file = path / LOCK_FILE
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise AccessDenied(f"{file} cannot be written: {error.strerror}", hint="the directory must be writable for this user") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip()
        os.close(descriptor)
        operating = "(" in holder  # an operation is named with its verb; a process alone writes through an open collection
        server = f"close it there, or let both use a server: chroma run --path {path} --port 8000, and url in [store] for path"
        hint = "wait until it is done" if operating else server
        raise Conflict(f"{path} is held by {holder or 'another vecmigrate process'}", hint=hint) from None
    _write(descriptor, f"process {os.getpid()}")
    return descriptor


def _note(held: _Held) -> None:
    _write(held.descriptor, "; ".join(held.operators.values()) or f"process {os.getpid()}")


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
