"""`vecmigrate history`: everything that happened to the collection, oldest first. Writes nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session


@click.command("history")
@click.pass_obj
def history_command(session: Session) -> None:
    """Everything that happened to the collection, oldest first."""
    from vecmigrate.cli.tables import plain_table

    events = session.store.history()
    table = plain_table("when (UTC)", "who", "what", "version", "epoch", "detail", right=("epoch",), wrap=("detail",))
    for e in events:
        detail = ", ".join(f"{k}={v}" for k, v in e.detail.items() if v not in ("", None))
        label = "" if e.version is None else f"v{e.version}"
        table.add_row(f"{e.at:%Y-%m-%d %H:%M:%S}", e.actor, e.kind, label, "" if e.epoch is None else str(e.epoch), detail)
    text = [table] if events else [f"nothing has happened to {session.store.collection} yet"]
    session.emit({"events": [asdict(e) for e in events]}, text, following="vecmigrate status")
