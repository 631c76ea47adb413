"""`vecmigrate publish`: a version under the application's own name, in a maintenance window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.publication import Client, Published
    from vecmigrate.versions import IndexVersion


@click.command("publish")
@click.argument("version", required=False)
@click.option("--client", type=click.Choice(["by-name"]), help="The application looks the collection up by name for each query.")
@click.option("--undo", is_flag=True, help="Put the application's own collection back, with what was written meanwhile.")
@click.option("--allow-mass-deletion", is_flag=True, help="With --undo: though more than a fifth of the rows were deleted meanwhile.")
@click.pass_obj
def publish_command(session: Session, version: str | None, client: str | None, undo: bool, allow_mass_deletion: bool) -> None:
    """Put the version that serves under the application's own name, for applications that can't change. Chroma only.

    Not atomic: stop the applications first, change their embedding model, then start them. Run again after a kill, it goes on.
    """
    from vecmigrate.cutover.publishing import publish, published, publishing, require_publishable, unpublish

    showing = publishing(session.store)
    if undo:
        with session.store.operation("unpublish", actor=session.actor):
            if published(session.store) is not None:
                session.confirm(_undo_lines(session))
            done = unpublish(showing, session.encoders, actor=session.actor, allow_mass_deletion=allow_mass_deletion)
        back = "vecmigrate rollback --to v0, so that readers by the pointer go back too"
        _tell(session, "v0", done, following=back if done.changed else "vecmigrate status")
        return
    target = session.standing(version or f"v{session.pointer().active}")
    found = require_publishable(showing, target, client)
    with session.store.operation("publish", actor=session.actor):
        session.confirm(_plan_lines(session, target, found))
        done = publish(showing, target, session.encoders, actor=session.actor)
    _tell(session, target.label, done, following="start the applications with the new model; to go back: vecmigrate publish --undo")


def _plan_lines(session: Session, target: IndexVersion, client: Client) -> list[str]:
    name = session.config.store.settings.get("source")
    return [
        f"plan   collection {name!r} becomes a copy of {target.name}; the application's own is kept beside it, under another name",
        f"  application  {client.name or 'said to look it up by name'} ({client.sign})",
        "  caution  not atomic: between the two renames the name leads nowhere, so every application must be stopped",
        "  caution  an application that holds the collection goes on reading the old one, without an error, until it is started again",
        f"  caution  set the application's embedding model to {target.model.name} before it starts: vectors of the old one would be mixed in",
        "undo   vecmigrate publish --undo (brings back what was written meanwhile)",
    ]


def _undo_lines(session: Session) -> list[str]:
    name = session.config.store.settings.get("source")
    return [
        f"plan   what was written to {name!r} meanwhile is encoded by the model before and brought in; then the application's own is {name!r} again",
        "  caution  not atomic: stop the applications first, and set their embedding model back before they start",
        "undo   vecmigrate publish",
    ]


def _tell(session: Session, label: str, done: Published, *, following: str) -> None:
    data = {
        "published": label,
        "changed": done.changed,
        "rows": done.rows,
        "gap_seconds": done.gap,
        "brought": done.brought,
        "removed": done.removed,
        "overruled": list(done.overruled),
    }
    text = (
        f"{label} has the application's name: {done.rows} rows; the name led nowhere for {done.gap * 1000:.1f} ms; "
        f"{done.brought} rows brought in, {done.removed} removed"
        if done.changed
        else f"{label} has the application's name already: nothing was done"
    )
    both = [f"changed on both sides, kept as it was under the name: {', '.join(map(repr, done.overruled))}"] if done.overruled else []
    session.emit(data, [text, *both], following=following)
