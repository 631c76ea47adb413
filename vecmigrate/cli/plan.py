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
@click.pass_obj
def plan_command(session: Session, version: str | None, output: Path | None) -> None:
    """What a cutover would do, and what undoes it. Nothing is changed.

    The file is bound to the pointer's epoch: a cutover by a plan that has become stale is refused with exit code 6.
    """
    from vecmigrate.cli.cutover import checked, plan_lines
    from vecmigrate.cutover import make_plan

    target = session.candidate(version)
    checks = checked(session, target, look_only=True)
    plan = make_plan(session.store, target, session.pointer(), checks)
    if output:
        plan.save(output)
    following = f"vecmigrate cutover {output or target.label}" if checks.ok else next(c.hint for c in checks.checks if not c.ok)
    session.emit(asdict(plan) | {"ok": checks.ok}, plan_lines(plan), following=following)
