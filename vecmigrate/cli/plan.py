"""`vecmigrate plan`: what a cutover would do, and what undoes it. Writes nothing but the plan file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session


@click.command("plan")
@click.argument("version", required=False)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan here, for `vecmigrate cutover FILE.json`."
)
@click.option("--no-gate", is_flag=True, help="Exit 0 although the comparison does not pass its gate.")
@click.pass_obj
def plan_command(session: Session, version: str | None, output: Path | None, no_gate: bool) -> None:
    """What a cutover would do, and what undoes it. Nothing is changed. Exit 3 or 4 when the cutover would be refused as things stand.

    The file is bound to the pointer's epoch: a cutover by a plan that has become stale is refused with exit code 6.
    """
    from vecmigrate.cli.cutover import checked, next_to_serve, plan_lines, require, tell_it_serves
    from vecmigrate.cutover import make_plan

    target = next_to_serve(session, version)
    if target.number == session.pointer().active:
        tell_it_serves(session, target)
        return
    checks = checked(session, target, no_gate=no_gate, look_only=True)
    plan = make_plan(session.store, target, session.pointer(), checks)
    if output:
        plan.save(output)
    following = f"vecmigrate cutover {output or target.label}" if checks.ok else next(c.hint for c in checks.checks if not c.ok)
    written = [f"wrote  {output}"] if output else []
    session.emit(asdict(plan) | {"ok": checks.ok}, [*plan_lines(plan), *written], following=following)
    require(checks, no_gate)
