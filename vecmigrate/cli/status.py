"""`vecmigrate status`: which version serves, and how the others stand. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.store import Differences, Store
    from vecmigrate.versions import IndexVersion, Pointer


@click.command("status")
@click.option("--check", is_flag=True, help="Count missing, stale and extra rows of each version too.")
@click.pass_obj
def status_command(session: Session, check: bool) -> None:
    """Which version serves, and how the others stand."""
    from vecmigrate.cli.tables import sharing_lines, version_table
    from vecmigrate.cutover.publishing import published
    from vecmigrate.versions import GONE

    store = session.store
    versions, pointer = store.versions(), store.pointer()
    lag = {v.number: store.differences(v, sample=0) for v in versions if v.state not in GONE} if check else {}
    counted = {n: {"rows": found.present, "differences": _counts(found)} for n, found in lag.items()}
    rows = [_row(v, pointer) | counted.get(v.number, {}) for v in versions]
    shown = published(store)
    data = {"collection": store.collection, "pointer": _pointer(pointer), "published": shown, "versions": rows}
    if pointer is None:
        session.emit(data, [f"{store.collection}: no versions yet; the application's own index serves"], following=_first_step(session))
        return
    head = f"{store.collection}: v{pointer.active} serves (epoch {pointer.epoch}), before it " + _label(pointer.previous)
    by_name = [] if shown is None else [f"v{shown} is published under the application's own name; vecmigrate publish --undo takes it back"]
    table = version_table(versions, pointer, lag)
    session.emit(data, [head, *by_name, table, *sharing_lines(versions)], following=_next(store, versions, pointer, lag, shown))


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
        "shares": version.shares or None,
        "note": version.note,
    }


def _counts(found: Any) -> dict[str, int]:
    return {"missing": found.n_missing, "stale": found.n_stale, "extra": found.n_extra}


def _first_step(session: Session) -> str:
    """Before there is a version: build one of a model that was trained, or train one."""
    trained = any(e.verdict for e in session.catalog.entries())
    return (
        "vecmigrate shadow build" if trained else "vecmigrate dataset build, then vecmigrate train; or vecmigrate shadow build --model NAME"
    )


def _next(store: Store, versions: Sequence[IndexVersion], pointer: Pointer, lag: Mapping[int, Differences], shown: int | None) -> str:
    from vecmigrate.cutover import ways_back
    from vecmigrate.versions import State

    unfinished = (State.PLANNED, State.BACKFILLING, State.INDEXING, State.CATCHING_UP, State.FAILED)
    begun = [v for v in versions if v.state in unfinished]
    if begun:
        return f"vecmigrate shadow build --model {begun[-1].model.name} goes on with {begun[-1].label}"
    behind = any(not lag[v.number].clean for v in versions if v.holder and v.number in lag)
    ready = [v.label for v in versions if v.state is State.READY]
    back = ways_back(store)
    steps = ["vecmigrate shadow sync"] if behind else []
    steps += [f"vecmigrate compare {ready[-1]}, then vecmigrate cutover {ready[-1]}"] if ready else []
    if pointer.active and back:
        undo = "vecmigrate publish --undo, then " if shown is not None else ""
        steps.append(f"to go back: {undo}vecmigrate rollback" + ("" if back[0] == f"v{pointer.previous}" else f" --to {back[0]}"))
    elif not pointer.active and back and not ready:
        steps.append(f"vecmigrate cutover {back[0]}")
    return "; ".join(steps) or "vecmigrate shadow build"
