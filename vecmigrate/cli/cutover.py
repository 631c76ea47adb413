"""`vecmigrate cutover`: move readers to a new version, atomically."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from vecmigrate.errors import PreflightRefused, StalePlan

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.cutover import CutoverPlan, Flip, Preflight
    from vecmigrate.versions import IndexVersion


@click.command("cutover")
@click.argument("version_or_plan", required=False)
@click.option("--no-gate", is_flag=True, help="Go on although the comparison does not pass its gate; the audit says so.")
@click.option("--reason", default="", help="A remark for the audit.")
@click.pass_obj
def cutover_command(session: Session, version_or_plan: str | None, no_gate: bool, reason: str) -> None:
    """Move readers to a version (default: the newest that is ready) or by a plan file.

    The version is brought up to date and verified, its comparison must pass the gate; then pointer, states and audit change
    together. Run again after it committed, it changes nothing.
    """
    from vecmigrate.cutover import make_plan

    plan = _plan_file(version_or_plan)
    pointer = session.pointer()
    target = session.version(f"v{plan.target}") if plan else session.candidate(version_or_plan)
    if target.number == pointer.active:
        session.emit({"active": pointer.active, "changed": False}, [f"{target.name} serves already: nothing to do"], following="vecmigrate status")
        return
    if plan:
        _still_holds(plan, target, session)
    with session.store.operation("cutover", actor=session.actor):
        checks = checked(session, target, bring_up_to_date=True)
        agreed = plan or make_plan(session.store, target, pointer, checks)
        _require(checks, no_gate)
        session.confirm(plan_lines(agreed))
        catch_up(session, target)  # the question may have stood there for a while
        done = _flip(session, agreed, no_gate, reason)
        catch_up(session, target)  # what was written in the moment of the flip
    _told(session, target, done)


def _plan_file(argument: str | None) -> CutoverPlan | None:
    from vecmigrate.cutover import CutoverPlan

    return CutoverPlan.load(Path(argument)) if argument and argument.endswith(".json") else None


def _still_holds(plan: CutoverPlan, target: IndexVersion, session: Session) -> None:
    plan.check(session.pointer())
    if plan.collection != session.store.collection:
        raise StalePlan(f"the plan is for {plan.collection}, this is {session.store.collection}", hint="use the vecmigrate.toml it was made with")
    if plan.fingerprint != target.model.fingerprint:
        raise StalePlan(f"the plan was made for another model than {target.name}'s", hint=f"vecmigrate plan {target.label}")


def catch_up(session: Session, target: IndexVersion) -> None:
    """Bring a version of ours up to date; v0 is the application's."""
    from vecmigrate.reindex import sync
    from vecmigrate.versions import SEARCHABLE

    if target.number and target.state in SEARCHABLE:
        sync(session.store, target, session.encoders.encoder_for(target))


def checked(session: Session, target: IndexVersion, *, bring_up_to_date: bool) -> Preflight:
    """Every condition of a cutover to `target`, which may be brought up to date first."""
    from vecmigrate.cutover import Evidence, preflight
    from vecmigrate.evaluation import Comparison, judge_gate
    from vecmigrate.reindex import verify

    if bring_up_to_date:
        catch_up(session, target)
    active = session.version(f"v{session.pointer().active}")
    comparison = Comparison.latest(session.folder("comparisons"), fingerprint=target.model.fingerprint)
    gate = judge_gate(comparison, session.config.gate) if comparison else None
    return preflight(target, active, verify(session.store, target, session.encoders.encoder_for(target)), Evidence(comparison, gate))


def _require(checks: Preflight, no_gate: bool) -> None:
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


def _flip(session: Session, plan: CutoverPlan, no_gate: bool, reason: str) -> Flip:
    from vecmigrate.cutover import flip
    from vecmigrate.cutover.switch import CUTOVER

    remark = "; ".join(r for r in (reason, "gate overridden" if no_gate else "") if r)
    done = flip(
        session.store,
        plan.target,
        expect_epoch=plan.expect_epoch,
        actor=session.actor,
        reason=f"{CUTOVER}: {remark}" if remark else CUTOVER,
    )
    after = session.store.pointer()
    if after is None or after.active != plan.target:
        raise PreflightRefused("the pointer moved again right after the flip", hint="vecmigrate history says who moved it")
    return done


def _told(session: Session, target: IndexVersion, done: Flip) -> None:
    missing = session.store.differences(target, sample=0).n_missing
    data = {"active": done.after.active, "epoch": done.after.epoch, "changed": done.changed, "seconds": done.seconds, "rows_missing": missing}
    lines = [f"{target.name} serves (epoch {done.after.epoch}), flipped in {done.seconds * 1000:.1f} ms; rows missing: {missing}"]
    session.emit(data, lines, following="vecmigrate status; to go back: vecmigrate rollback")
