"""`vecmigrate rollback`: move readers back to the version that served before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from vecmigrate.errors import PreflightRefused

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.reindex import Verification
    from vecmigrate.versions import IndexVersion


@click.command("rollback")
@click.option("--to", "label", help="The version to go back to [default: what served before the last cutover].")
@click.option("--accept-missing", is_flag=True, help="Go back even where that version lacks rows written since.")
@click.option("--reason", default="", help="A remark for the audit.")
@click.pass_obj
def rollback_command(session: Session, label: str | None, accept_missing: bool, reason: str) -> None:
    """Move readers back, atomically. No re-embedding: the version before was kept.

    Rows written since are brought into it first; run again after it committed, it changes nothing.
    """
    from vecmigrate.cli.cutover import catch_up
    from vecmigrate.cutover import flip, rollback_target
    from vecmigrate.cutover.switch import ROLLBACK

    pointer = session.pointer()
    number = session.version(label).number if label else rollback_target(session.store)
    if number is None or number == pointer.active:
        _nothing_to_do(session, pointer.active)
        return
    target = session.version(f"v{number}")
    session.confirm(
        [f"plan   {session.store.collection}: v{pointer.active} → {target.label}", f"undo   vecmigrate cutover v{pointer.active}"]
    )
    with session.store.operation("rollback", actor=session.actor):
        found = _up_to_date(session, target)
        missing = found.differences.n_missing + found.differences.n_stale
        if missing and not accept_missing:
            raise PreflightRefused(_why(target, found), hint=_way_out(target))
        remark = f"{ROLLBACK}: {reason}" if reason else ROLLBACK
        done = flip(session.store, number, expect_epoch=pointer.epoch, actor=session.actor, reason=remark)
        catch_up(session, target)  # what was written in the moment of the flip
        missing = session.store.differences(target, sample=0).n_missing
    data = {
        "active": done.after.active,
        "epoch": done.after.epoch,
        "changed": done.changed,
        "seconds": done.seconds,
        "rows_missing": missing,
    }
    lines = [f"{target.label} serves again (epoch {done.after.epoch}), flipped in {done.seconds * 1000:.1f} ms; rows missing: {missing}"]
    session.emit(data, lines, following="vecmigrate status")


def _nothing_to_do(session: Session, active: int) -> None:
    session.emit(
        {"active": active, "changed": False},
        [f"v{active} serves already since the last rollback: nothing to do"],
        following="vecmigrate rollback --to VERSION goes further back",
    )


def _up_to_date(session: Session, target: IndexVersion) -> Verification:
    from vecmigrate.cli.cutover import catch_up
    from vecmigrate.reindex import verify

    catch_up(session, target)
    return verify(session.store, target, None)


def _why(target: IndexVersion, found: Verification) -> str:
    d = found.differences
    return f"{target.name} lacks {d.n_missing} rows and has {d.n_stale} stale ones, such as {', '.join((d.missing + d.stale)[:3])}"


def _way_out(target: IndexVersion) -> str:
    if target.number:
        return f"vecmigrate shadow sync {target.label}; or --accept-missing to go back all the same"
    return "have the application fill its own vectors for these rows; or --accept-missing to go back all the same"
