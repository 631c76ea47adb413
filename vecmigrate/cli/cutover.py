"""`vecmigrate cutover`: move readers to a new version, atomically."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from vecmigrate.errors import StalePlan, VecmigrateError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.cutover import CutoverPlan, Evidence, Move, Order, Preflight
    from vecmigrate.versions import IndexVersion


@click.command("cutover")
@click.argument("version_or_plan", required=False)
@click.option("--no-gate", is_flag=True, help="Go on although the comparison does not pass its gate; the audit says so.")
@click.option("--reason", default="", help="A remark for the audit.")
@click.pass_obj
def cutover_command(session: Session, version_or_plan: str | None, no_gate: bool, reason: str) -> None:
    """Move readers to a version (default: the newest that is ready) or by a plan file.

    The comparison must pass the gate, and the version is brought up to date and verified; then pointer, states and audit change
    together. Run again after it committed, it changes nothing.
    """
    from vecmigrate.cutover import make_plan, move

    plan = _plan_file(version_or_plan)
    pointer = session.pointer()
    target = session.standing(f"v{plan.target}") if plan else next_to_serve(session, version_or_plan)
    if target.number == pointer.active:
        tell_it_serves(session, target)
        return
    if plan:
        _still_holds(plan, target, session)
    with session.store.operation("cutover", actor=session.actor):
        checks = checked(session, target, no_gate=no_gate, look_only=True)
        agreed = plan or make_plan(session.store, target, pointer, checks)
        require(checks, no_gate)
        session.confirm(plan_lines(agreed))
        require(checked(session, target, no_gate=no_gate), no_gate)  # synced now, and verified
        remarks = (reason, "gate overridden" if no_gate else "")
        done = move(session.store, session.encoders, _order(session, agreed, target, remarks))
    tell_move(session, target, done, following="vecmigrate status; to go back: vecmigrate rollback")


def next_to_serve(session: Session, label: str | None) -> IndexVersion:
    """The named version, or the newest that is ready. Right after a cutover that is one newer than what serves, or else what serves."""
    from vecmigrate.cutover import last_flip
    from vecmigrate.cutover.switch import CUTOVER
    from vecmigrate.versions import State

    latest = last_flip(session.store) if label is None else None
    if latest is not None and str(latest.detail.get("reason", "")).startswith(CUTOVER):
        active = session.pointer().active
        if not any(v.state is State.READY and v.number > active for v in session.store.versions()):
            return session.version(f"v{active}")
    return session.candidate(label)


def tell_it_serves(session: Session, target: IndexVersion) -> None:
    """Say that a version needs no cutover."""
    session.emit(
        {"active": target.number, "changed": False}, [f"{target.name} serves already: nothing to do"], following="vecmigrate status"
    )


def _plan_file(argument: str | None) -> CutoverPlan | None:
    from vecmigrate.cutover import CutoverPlan

    return CutoverPlan.load(Path(argument)) if argument and argument.endswith(".json") else None


def _still_holds(plan: CutoverPlan, target: IndexVersion, session: Session) -> None:
    plan.check(session.pointer())
    if plan.collection != session.store.collection:
        raise StalePlan(
            f"the plan is for {plan.collection}, this is {session.store.collection}", hint="use the vecmigrate.toml it was made with"
        )
    if plan.fingerprint != target.model.fingerprint:
        raise StalePlan(f"the plan was made for another model than {target.name}'s", hint=f"vecmigrate plan {target.label}")


def checked(session: Session, target: IndexVersion, *, no_gate: bool = False, look_only: bool = False) -> Preflight:
    """Every condition of a cutover to `target`, which is brought up to date first unless it is only to be looked at: then what a sync
    mends is not held against it.
    """
    from vecmigrate.cutover import preflight
    from vecmigrate.cutover.publishing import refuse_while_published
    from vecmigrate.reindex import verify, verify_following

    refuse_while_published(session.store, target)
    active = session.version(f"v{session.pointer().active}")
    if look_only:
        found = verify(session.store, target, session.encoders.encoder_for(target))
    else:
        found = verify_following(session.store, target, session.encoders, actor=session.actor)
    return preflight(target, active, found, _evidence(session, target, no_gate), before_sync=look_only)


def _evidence(session: Session, target: IndexVersion, no_gate: bool) -> Evidence:
    """The latest comparison of this model and the gate's word on it. With `no_gate`, one that can't be read or judged is none."""
    from vecmigrate.cli.compare import lineage
    from vecmigrate.cutover import Evidence
    from vecmigrate.evaluation import Comparison, judge_gate
    from vecmigrate.versions import State

    if target.state is not State.READY:
        return Evidence()
    try:
        comparison = Comparison.latest(session.folder("comparisons"), fingerprint=target.model.fingerprint)
        gate = judge_gate(comparison, session.config.gate) if comparison else None
    except VecmigrateError:
        if not no_gate:
            raise
        return Evidence()
    return Evidence(comparison, gate, trained_on=lineage(session, target).get("dataset", ""))


def require(checks: Preflight, no_gate: bool) -> None:
    """Raise for what doesn't hold; with `no_gate`, the comparison may say no."""
    from vecmigrate.cutover import Preflight

    kept = Preflight(tuple(c for c in checks.checks if not (c.gate and no_gate)))
    kept.require()


def plan_lines(plan: CutoverPlan) -> list[str]:
    """The plan in words."""
    lines = [f"plan   {plan.collection}: v{plan.source} → v{plan.target} (epoch {plan.expect_epoch} → {plan.expect_epoch + 1})"]
    lines += [f"  step     {s}" for s in plan.steps]
    lines += [f"  check    {c}" for c in plan.checks]
    lines += [f"  caution  {c}" for c in plan.cautions]
    return [*lines, f"undo   {plan.undo}"]


def _order(session: Session, plan: CutoverPlan, target: IndexVersion, remarks: tuple[str, ...]) -> Order:
    from vecmigrate.cutover import Order
    from vecmigrate.cutover.switch import CUTOVER

    remark = "; ".join(r for r in remarks if r)
    return Order(target, plan.expect_epoch, session.actor, f"{CUTOVER}: {remark}" if remark else CUTOVER)


def tell_move(session: Session, target: IndexVersion, done: Move, *, following: str) -> None:
    """Print what a flip did, and how complete the version is that serves now."""
    after = done.flip.after
    data = {
        "active": after.active,
        "epoch": after.epoch,
        "changed": done.flip.changed,
        "seconds": done.flip.seconds,
        "rows_missing": done.missing,
        "rows_stale": done.stale,
        "warning": done.warning,
    }
    missing = "unknown" if done.missing is None else f"{done.missing}" + (f", stale: {done.stale}" if done.stale else "")
    lines = [f"{target.name} serves (epoch {after.epoch}), flipped in {done.flip.seconds * 1000:.1f} ms; rows missing: {missing}"]
    session.emit(data, [*lines, *([f"warning: {done.warning}"] if done.warning else [])], following=following)
