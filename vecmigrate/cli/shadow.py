"""`vecmigrate shadow`: build a new index version beside the live one, and look after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from vecmigrate.errors import PreflightRefused, UsageError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.encoding import ModelEntry
    from vecmigrate.reindex import BuildReport
    from vecmigrate.store import Store
    from vecmigrate.versions import IndexVersion


@click.group("shadow")
def shadow_command() -> None:
    """Build a new index version beside the live one, and look after it."""


@shadow_command.command("build")
@click.option("--model", "reference", help="The model: a name of `models list`, a directory or a hub name [default: the newest trained].")
@click.option("--halfvec", is_flag=True, help="Store 16-bit floats: half the space, nearly the same order.")
@click.option("--trust-control", is_flag=True, help="Don't prove first that [control] made the vectors that serve.")
@click.pass_obj
def build_command(session: Session, reference: str | None, halfvec: bool, trust_control: bool) -> None:
    """Encode every chunk with the model into a new version; the live one is left alone.

    Killed or interrupted, the same command goes on where it stopped: what is loaded is never encoded again.
    """
    from vecmigrate.reindex import verify

    store = session.store
    entry = _chosen_model(session, reference)
    _prove_control(session, trust_control)
    resumable = _resumable(store, entry)
    session.confirm(_build_plan(session, entry, resumable))
    with store.operation("shadow build", actor=session.actor):
        store.adopt(session.control.model)
        version = _resumable(store, entry) or store.create_version(entry.model, element=_element(halfvec))
        report = _build(session, version)
        found = verify(store, report.version, session.encoders.encoder_for(report.version))
    _told(session, report, found.to_dict())
    if not found.ok:
        raise PreflightRefused(f"{version.name}: {'; '.join(found.problems)}", hint=f"vecmigrate shadow sync {version.label}")


def _chosen_model(session: Session, reference: str | None) -> ModelEntry:
    if reference:
        return session.model(reference)
    trained = [e for e in session.catalog.entries() if e.verdict]
    if not trained:
        raise UsageError("no trained model yet", hint="vecmigrate train makes one; --model NAME takes any other")
    return trained[-1]


def _prove_control(session: Session, trust: bool) -> None:
    """Once, before anything is registered: a wrong name in [control] would make every later figure wrong."""
    if trust or session.store.versions():
        return
    from vecmigrate.reindex import prove_control
    from vecmigrate.store import control_version

    encoder = session.encoders.encoder_for(control_version(session.store, session.control.model))
    found = prove_control(session.store, encoder)
    session.err.print(f"control {found.sentence()}")
    found.require()


def _resumable(store: Store, entry: ModelEntry) -> IndexVersion | None:
    """The newest version of this model that is being built or is ready: a build goes on with it."""
    from vecmigrate.cutover.disposal import UNFINISHED

    mine = [v for v in store.versions() if v.model.fingerprint == entry.model.fingerprint and v.state in UNFINISHED]
    return mine[-1] if mine else None


def _element(halfvec: bool) -> Any:
    from vecmigrate.versions import Element

    return Element.FLOAT16 if halfvec else None


def _build_plan(session: Session, entry: ModelEntry, resumable: IndexVersion | None) -> list[str]:
    rows = session.store.count()
    what = f"go on with {resumable.name} ({resumable.state})" if resumable else f"make a new version of {session.store.collection}"
    verdict = f", verdict: {entry.verdict}" if entry.verdict else ""
    size = rows * entry.model.dimension * 4 / 2**20
    return [
        f"plan   {what}: {rows} chunks under {entry.model.name} ({entry.model.fingerprint[:12]}{verdict}), about {size:.0f} MiB of vectors",
        "       beside the application's data, which is only read",
        "undo   vecmigrate shadow drop VERSION",
    ]


def _build(session: Session, version: IndexVersion) -> BuildReport:
    from vecmigrate.reindex import Progress, build

    encoder = session.encoders.encoder_for(version)
    with session.progress(f"build {version.label}") as bar:
        task = bar.add_task("", total=None, status="")

        def show(p: Progress) -> None:
            eta = "" if p.eta is None else f", {p.eta:.0f} s left"
            bar.update(task, completed=p.done, total=p.total, status=f"{p.rate:.0f} chunks/s{eta}")

        return build(session.store, version, encoder, actor=session.actor, progress=show)


def _told(session: Session, report: BuildReport, verification: dict[str, Any]) -> None:
    version = report.version
    data = {
        "version": version.label,
        "state": version.state,
        "loaded": report.loaded,
        "removed": report.removed,
        "truncated": report.truncated,
        "seconds": round(report.seconds, 3),
        "verification": verification,
    }
    rate = report.loaded / report.seconds if report.seconds else 0
    lines = [f"{version.name} is {version.state}: {report.loaded} chunks encoded in {report.seconds:.1f} s ({rate:.0f}/s), {report.removed} removed"]
    if report.truncated:
        lines.append(f"{report.truncated} chunks are longer than the model reads ({version.model.max_tokens} tokens): their ends are not searchable")
    lines.append("verified" if verification["ok"] else f"NOT verified: {'; '.join(verification['problems'])}")
    session.emit(data, lines, following=f"vecmigrate compare {version.label}")


@shadow_command.command("sync")
@click.argument("version", required=False)
@click.option("--allow-mass-deletion", is_flag=True, help="Remove even more than a fifth of the version's rows.")
@click.pass_obj
def sync_command(session: Session, version: str | None, allow_mass_deletion: bool) -> None:
    """Bring what changed in the source into a version [default: every one that is kept up]."""
    from vecmigrate.reindex import sync
    from vecmigrate.versions import SEARCHABLE

    store = session.store
    chosen = [session.version(version)] if version else [v for v in store.versions() if v.number and v.state in SEARCHABLE]
    with store.operation("shadow sync", actor=session.actor):
        reports = [sync(store, v, session.encoders.encoder_for(v), allow_mass_deletion=allow_mass_deletion) for v in chosen]
    lines = [f"{r.version.name}: {r.loaded} encoded, {r.removed} removed in {r.seconds:.1f} s" for r in reports]
    data = {"versions": [{"version": r.version.label, "loaded": r.loaded, "removed": r.removed} for r in reports]}
    session.emit(data, lines or ["no version is kept up yet"], following="vecmigrate status --check")


@shadow_command.command("status")
@click.pass_context
def status_command(ctx: click.Context) -> None:
    """As `vecmigrate status --check`."""
    from vecmigrate.cli.status import status_command as status

    ctx.invoke(status, check=True)


@shadow_command.command("drop")
@click.argument("version")
@click.pass_obj
def drop_command(session: Session, version: str) -> None:
    """Give up a version that never served, and free its storage."""
    from vecmigrate.cutover import cancel

    target = session.version(version)
    session.confirm([f"plan   drop {target.location or target.name}", "undo   none: it would have to be built again"])
    with session.store.operation("shadow drop", actor=session.actor):
        gone = cancel(session.store, target, actor=session.actor)
    session.emit({"version": gone.label, "state": gone.state}, [f"{gone.name} is dropped"], following="vecmigrate status")
