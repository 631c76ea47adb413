"""The destructive verbs: retire a standby, cancel a version that never served. Nothing else frees a version's storage."""

from __future__ import annotations

from vecmigrate.errors import PreflightRefused
from vecmigrate.sharing import refuse_while_shared
from vecmigrate.store import Store
from vecmigrate.versions import GONE, IndexVersion, State

UNFINISHED = frozenset({State.PLANNED, State.BACKFILLING, State.INDEXING, State.CATCHING_UP, State.READY, State.FAILED})


def retire(store: Store, version: IndexVersion, *, actor: str) -> IndexVersion:
    """Destroy a standby version: afterwards no rollback to it is possible. Run again, it finishes what was begun.

    Raises `PreflightRefused` for v0, which is the application's own, for the active version, for one that never served, and for one whose
    vectors another version shares. Of a version that shares, the other one's vectors stay.
    """
    require_retirable(version)
    if version.state is State.STANDBY:
        version = store.advance(version, State.RETIRED, actor=actor)
    store.drop(version, actor=actor)
    return version


def cancel(store: Store, version: IndexVersion, *, actor: str) -> IndexVersion:
    """Give up a version that never served, and free its storage. Run again, it finishes what was begun."""
    require_cancellable(version)
    if version.state in UNFINISHED:
        version = store.advance(version, State.CANCELLED, actor=actor)
    store.drop(version, actor=actor)
    return version


def require_retirable(version: IndexVersion) -> None:
    """Raise `PreflightRefused` for a version that `retire` would refuse, before anybody is asked anything."""
    _refuse_v0(version)
    if version.state not in (State.STANDBY, State.RETIRED):
        raise PreflightRefused(f"{version.name} is {version.state}; only a standby version is retired", hint=_instead(version))


def require_cancellable(version: IndexVersion) -> None:
    """Raise `PreflightRefused` for a version that `cancel` would refuse, before anybody is asked anything."""
    _refuse_v0(version)
    if version.state not in UNFINISHED | {State.CANCELLED}:
        raise PreflightRefused(f"{version.name} is {version.state}; only a version that never served is dropped", hint=_instead(version))


def require_unshared(store: Store, version: IndexVersion, to: State) -> None:
    """Raise `PreflightRefused`, naming them, while other versions search the vectors of this one: the store would, after the question."""
    refuse_while_shared(store.versions(), version, to)


def _refuse_v0(version: IndexVersion) -> None:
    if version.number == 0:
        raise PreflightRefused(f"{version.name} is the application's own index: vecmigrate never removes it", hint="vecmigrate status")


def _instead(version: IndexVersion) -> str:
    if version.state in GONE:
        return "it is gone already: vecmigrate status"
    if version.state is State.ACTIVE:
        return "vecmigrate rollback or a cutover to another version first"
    return f"vecmigrate {'retire' if version.state is State.STANDBY else 'shadow drop'} {version.label}"
