"""`vecmigrate retire`: destroy a standby version for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.versions import IndexVersion


@click.command("retire")
@click.argument("version")
@click.pass_obj
def retire_command(session: Session, version: str) -> None:
    """Destroy a standby version: afterwards no rollback to it is possible. Asks for its name."""
    from vecmigrate.cutover import retire
    from vecmigrate.cutover.disposal import require_retirable, require_unshared
    from vecmigrate.versions import State

    target = session.version(version)
    require_retirable(target)
    require_unshared(session.store, target, State.RETIRED)
    session.confirm(_plan_lines(session, target), typed=target.name)
    with session.store.operation("retire", actor=session.actor):
        gone = retire(session.store, target, actor=session.actor)
    session.emit(
        {"version": gone.label, "state": gone.state}, [f"{gone.name} is retired", *disk_lines(session, gone)], following="vecmigrate status"
    )


def disk_lines(session: Session, gone: IndexVersion) -> list[str]:
    """What a dropped version's disk needs, where the store does not give it back by itself."""
    from vecmigrate.store import Capability

    if gone.shares:
        return []

    freed = session.store.can(Capability.FREES_DISK)
    return [] if freed.able else [f"disk   {freed.reason}"]


def _plan_lines(session: Session, target: IndexVersion) -> list[str]:
    from vecmigrate.cutover import ways_back

    ways = ways_back(session.store)
    left = [label for label in ways if label != target.label]
    first = ways[:1] == [target.label] and session.pointer().previous == target.number
    instead = f"; afterwards: vecmigrate rollback --to {left[0]}" if left else "; afterwards there is no way back"
    return [
        what_goes(target, f" with {target.rows if target.rows is not None else 'its'} rows"),
        *([f"  caution  it is what vecmigrate rollback goes to now{instead}"] if first else []),
        f"undo   vecmigrate shadow build --model {target.model.name} makes it again, under another number"
        if target.shares
        else "undo   none",
    ]


def what_goes(target: IndexVersion, rows: str = "") -> str:
    """What the plan of destroying a version says: one that shares another's vectors leaves these alone."""
    if target.shares:
        return f"plan   give up {target.name}; the vectors, which are those of {target.shares}, stay"
    return f"plan   drop {target.location or target.name}{rows}"
