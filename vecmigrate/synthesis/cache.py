"""What the endpoint has answered, so that nothing is asked twice: one line of JSON for each answer, appended and never changed.

The key is a hash of address, model, prompt, settings and chunk text; neither a text nor the API key is in the file. A torn last line, as
a kill leaves it, is cut off.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vecmigrate.config import SynthesisSection
from vecmigrate.errors import Conflict, DataError
from vecmigrate.synthesis.endpoint import Reply
from vecmigrate.synthesis.spending import Usage

FILE = "answers.jsonl"


def key_of(url: str, template: str, settings: SynthesisSection, text: str) -> str:
    """What tells one question to one model from any other, as 64 hex digits."""
    asked = [
        url,
        settings.model,
        template,
        settings.per_chunk,
        settings.max_tokens,
        settings.temperature,
        settings.request_seed,
        settings.body,
        text,
    ]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


class AnswerCache:
    """The answers to the questions of one run, `found` by key. For one thread."""

    def __init__(self, handle: int, found: dict[str, Reply], unreadable: int, batch: int) -> None:
        self._handle = handle
        self.found = found
        self.unreadable = unreadable
        self._batch = batch
        self._unsynced = 0

    def add(self, key: str, reply: Reply) -> None:
        """Write the answer down; every `batch` answers the file is made to survive a power cut. Raises `DataError` when the disk is full."""
        entry = {"key": key, "answer": reply.content, "cut": reply.cut, "in": reply.usage.sent, "out": reply.usage.received}
        _write(self._handle, json.dumps(entry).encode() + b"\n")
        self.found[key] = reply
        self._unsynced += 1
        if self._unsynced >= self._batch:
            self.sync()

    def sync(self) -> None:
        """Make everything written survive a power cut."""
        os.fsync(self._handle)
        self._unsynced = 0


@contextmanager
def open_cache(folder: Path, keys: Collection[str], batch: int) -> Iterator[AnswerCache]:
    """The cache of the folder, for its owner alone, held until closed. Only answers to `keys` are kept in memory.

    Raises `Conflict` when another process holds it, `DataError` when it can't be read or written.
    """
    path = folder / FILE
    with _translated(path):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
    try:
        _lock(handle, path)
        with _translated(path):
            found, unreadable = _load(path, frozenset(keys), handle)
            cache = AnswerCache(handle, found, unreadable, batch)
        try:
            yield cache
        finally:
            with _translated(path):
                cache.sync()
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Conflict(f"another process is writing {path}", hint="let it finish, then give the command again") from None


def _load(path: Path, keys: frozenset[str], handle: int) -> tuple[dict[str, Reply], int]:
    """The wanted answers, and how many lines could not be read. What comes after the last line's end is cut off."""
    found: dict[str, Reply] = {}
    unreadable = whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            key, reply = _entry(line)
            unreadable += reply is None
            if reply is not None and key in keys:
                found[key] = reply
    os.ftruncate(handle, whole)
    return found, unreadable


def _entry(line: bytes) -> tuple[str, Reply | None]:
    try:
        entry: dict[str, Any] = json.loads(line)
        return str(entry["key"]), Reply(str(entry["answer"]), bool(entry["cut"]), Usage(int(entry["in"]), int(entry["out"])))
    except (ValueError, LookupError, TypeError):
        return "", None


def _write(handle: int, line: bytes) -> None:
    """The whole line, or nothing of it that would be read back."""
    try:
        while line:
            line = line[os.write(handle, line) :]
    except OSError as error:
        raise DataError(
            f"an answer cannot be written down: {error.strerror}", hint="free some space; what was answered before is kept"
        ) from None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"the answers in {path} cannot be kept: {why}", hint="free some space, or mend its permissions") from None
