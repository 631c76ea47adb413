"""`vecmigrate retire`: destroy a standby version for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session


@click.command("retire")
@click.argument("version")
@click.pass_obj
def retire_command(session: Session, version: str) -> None:
    """Destroy a standby version: afterwards no rollback to it is possible. Asks for its name."""
    from vecmigrate.cutover import retire
    from vecmigrate.cutover.disposal import require_retirable

    target = session.version(version)
    require_retirable(target)
    plan = [f"plan   drop {target.location or target.name} with {target.rows if target.rows is not None else 'its'} rows", "undo   none"]
    session.confirm(plan, typed=target.name)
    with session.store.operation("retire", actor=session.actor):
        gone = retire(session.store, target, actor=session.actor)
    session.emit({"version": gone.label, "state": gone.state}, [f"{gone.name} is retired"], following="vecmigrate status")
