"""The flip itself, forth and back. Absolute, never a toggle: run again after it committed, it changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from vecmigrate.errors import PreflightRefused
from vecmigrate.store import Store
from vecmigrate.versions import AuditEvent, Pointer, State

CUTOVER = "cutover"
ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Flip:
    """What was done. `changed` is False when the target served already; `seconds` is the flip's own time."""

    before: Pointer
    after: Pointer
    seconds: float

    @property
    def changed(self) -> bool:
        """Whether the pointer moved."""
        return self.after.epoch != self.before.epoch


def flip(store: Store, target: int, *, expect_epoch: int, actor: str, reason: str) -> Flip:
    """Point the collection at `target`. `reason` is `cutover` or `rollback`, with a remark after a colon where there is one.

    Raises `StalePlan` when another operator moved the pointer, `Conflict` when the target's state forbids it.
    """
    before = require_pointer(store)
    start = time.perf_counter()
    after = store.activate(target, expect_epoch=expect_epoch, actor=actor, reason=reason)
    return Flip(before, after, time.perf_counter() - start)


def require_pointer(store: Store) -> Pointer:
    """The pointer. Raises `PreflightRefused` where there is none yet."""
    pointer = store.pointer()
    if pointer is None:
        raise PreflightRefused(f"{store.collection} has no versions yet", hint="vecmigrate shadow build makes the first")
    return pointer


def last_flip(store: Store) -> AuditEvent | None:
    """The latest change of the pointer that was a cutover or a rollback."""
    flips = [e for e in store.history() if e.kind == "activate"]
    return flips[-1] if flips else None


def rollback_target(store: Store) -> int | None:
    """Where `rollback` without a version goes: what served before the last cutover; None when the last flip was a rollback
    already, so that a second rollback does not go forth again.

    Raises `PreflightRefused` when there was no cutover.
    """
    pointer = require_pointer(store)
    latest = last_flip(store)
    if latest is None or pointer.previous is None:
        raise PreflightRefused(f"{store.collection} was never cut over: there is nothing to go back to", hint="vecmigrate status")
    if str(latest.detail.get("reason", "")).startswith(ROLLBACK):
        return None
    return pointer.previous


def ways_back(store: Store) -> list[str]:
    """The labels of the versions that a rollback can go to, the one that served before the last cutover first."""
    pointer = require_pointer(store)
    standing = [v for v in store.versions() if v.state is State.STANDBY]
    return [v.label for v in sorted(standing, key=lambda v: (v.number != pointer.previous, -v.number))]
