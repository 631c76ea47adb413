"""`vecmigrate rollback`: move readers back to the version that served before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from vecmigrate.errors import PreflightRefused

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.versions import IndexVersion, Pointer


@click.command("rollback")
@click.option("--to", "label", help="The version to go back to [default: what served before the last cutover].")
@click.option("--accept-missing", is_flag=True, help="Go back even where that version lacks rows, or can't be brought up to date.")
@click.option("--reason", default="", help="A remark for the audit.")
@click.pass_obj
def rollback_command(session: Session, label: str | None, accept_missing: bool, reason: str) -> None:
    """Move readers back, atomically. No re-embedding: the version before was kept.

    Rows written since are brought into it first; run again after it committed, it changes nothing.
    """
    from vecmigrate.cli.cutover import tell_move
    from vecmigrate.cutover import Order, doubts_about_going_back, move, rollback_target
    from vecmigrate.cutover.switch import ROLLBACK

    pointer = session.pointer()
    number = session.version(label).number if label else rollback_target(session.store)
    if number is None or number == pointer.active:
        _nothing_to_do(session, pointer.active)
        return
    target = session.version(f"v{number}")
    with session.store.operation("rollback", actor=session.actor):
        session.confirm(_plan_lines(session, target, pointer))
        doubts = doubts_about_going_back(session.store, target, session.encoders, actor=session.actor)
        if doubts and not accept_missing:
            raise PreflightRefused(f"{target.name}: {'; '.join(doubts)}", hint=_way_out(target))
        for doubt in doubts:
            session.err.print(f"accepted: {doubt}")
        remarks = "; ".join(r for r in (reason, f"accepted: {'; '.join(doubts)}" if doubts else "") if r)
        remark = f"{ROLLBACK}: {remarks}" if remarks else ROLLBACK
        done = move(session.store, session.encoders, Order(target, pointer.epoch, session.actor, remark))
    tell_move(session, target, done, following="vecmigrate status")


def _plan_lines(session: Session, target: IndexVersion, pointer: Pointer) -> list[str]:
    from vecmigrate.cutover import require_served
    from vecmigrate.cutover.publishing import refuse_while_published

    require_served(target)
    refuse_while_published(session.store, target)
    found = session.store.differences(target, sample=0)
    behind = f"missing {found.n_missing}, stale {found.n_stale}, extra {found.n_extra}"
    bring = (
        f"bring {target.shares or target.name} up to date with the source ({behind}), then verify {target.name if target.shares else 'it'}"
    )
    kept = f"verify {target.name}, {f'whose vectors, those of {target.shares},' if target.shares else 'which'} the application keeps ({behind})"
    return [
        f"plan   {session.store.collection}: v{pointer.active} → {target.label} (epoch {pointer.epoch} → {pointer.epoch + 1})",
        f"  step     {bring if target.holder else kept}",
        f"undo   vecmigrate cutover v{pointer.active}",
    ]


def _nothing_to_do(session: Session, active: int) -> None:
    session.emit(
        {"active": active, "changed": False},
        [f"v{active} serves, and the last change was to it already: nothing was done"],
        following="vecmigrate rollback --to VERSION, if another version is to serve (vecmigrate status lists them)",
    )


def _way_out(target: IndexVersion) -> str:
    if target.holder:
        return f"vecmigrate shadow sync v{target.holder}; or --accept-missing to go back all the same"
    return "have the application fill its own vectors for these rows; or --accept-missing to go back all the same"
