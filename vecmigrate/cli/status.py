"""`vecmigrate status`: which version serves, and how the others stand. Writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.versions import IndexVersion, Pointer


@click.command("status")
@click.option("--check", is_flag=True, help="Count missing, stale and extra rows of each version too.")
@click.pass_obj
def status_command(session: Session, check: bool) -> None:
    """Which version serves, and how the others stand."""
    from vecmigrate.cli.tables import version_table
    from vecmigrate.versions import GONE

    store = session.store
    versions, pointer = store.versions(), store.pointer()
    lag = {v.number: store.differences(v, sample=0) for v in versions if v.state not in GONE} if check else {}
    rows = [_row(v, pointer) | ({"differences": _counts(lag[v.number])} if v.number in lag else {}) for v in versions]
    data = {"collection": store.collection, "pointer": _pointer(pointer), "versions": rows}
    if pointer is None:
        session.emit(
            data, [f"{store.collection}: no versions yet; the application's own index serves"], following="vecmigrate shadow build"
        )
        return
    head = f"{store.collection}: v{pointer.active} serves (epoch {pointer.epoch}), before it " + _label(pointer.previous)
    session.emit(data, [head, version_table(versions, pointer, lag)], following=_next(versions, pointer))


def _label(number: int | None) -> str:
    return "nothing" if number is None else f"v{number}"


def _pointer(pointer: Pointer | None) -> dict[str, Any] | None:
    return None if pointer is None else {"active": pointer.active, "previous": pointer.previous, "epoch": pointer.epoch}


def _row(version: IndexVersion, pointer: Pointer | None) -> dict[str, Any]:
    return {
        "version": version.label,
        "state": version.state,
        "serves": pointer is not None and pointer.active == version.number,
        "model": version.model.name,
        "fingerprint": version.model.fingerprint,
        "dimension": version.model.dimension,
        "metric": version.metric,
        "rows": version.rows,
        "location": version.location,
        "note": version.note,
    }


def _counts(found: Any) -> dict[str, int]:
    return {"missing": found.n_missing, "stale": found.n_stale, "extra": found.n_extra}


def _next(versions: Any, pointer: Pointer) -> str:
    from vecmigrate.versions import State

    states = {v.state: v.label for v in versions}
    unfinished = (State.PLANNED, State.BACKFILLING, State.INDEXING, State.CATCHING_UP, State.FAILED)
    begun = [v for v in versions if v.state in unfinished]
    if begun:
        return f"vecmigrate shadow build --model {begun[-1].model.name} goes on with {begun[-1].label}"
    if State.READY in states:
        return f"vecmigrate compare {states[State.READY]}"
    if pointer.active:
        return "vecmigrate shadow sync; to go back: vecmigrate rollback"
    return f"vecmigrate cutover {states[State.STANDBY]}" if State.STANDBY in states else "vecmigrate shadow build"
