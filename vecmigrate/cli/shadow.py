"""`vecmigrate shadow`: build a new index version beside the live one, and look after it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rich_click as click

from vecmigrate.errors import PreflightRefused, StoreError, UsageError, VecmigrateError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.encoding import ModelEntry
    from vecmigrate.reindex import BuildReport, Verification
    from vecmigrate.store import Store
    from vecmigrate.versions import Element, IndexVersion, ModelVersion


UNPROVED = "--trust-control: nobody proved that [control] made the vectors that serve"


@click.group("shadow")
def shadow_command() -> None:
    """Build a new index version beside the live one, and look after it."""


@shadow_command.command("build")
@click.option("--model", "reference", help="The model: a name of `models list`, a directory or a hub name [default: the newest trained].")
@click.option("--halfvec", is_flag=True, help="Store 16-bit floats: half the space, nearly the same order.")
@click.option("--own-vectors", is_flag=True, help="Embed and index every chunk, though the model could search vectors that are there.")
@click.option("--trust-control", is_flag=True, help="Don't prove first that [control] made the vectors that serve.")
@click.pass_obj
def build_command(session: Session, reference: str | None, halfvec: bool, own_vectors: bool, trust_control: bool) -> None:
    """Encode every chunk with the model into a new version; the live one is left alone. A model that was tuned on the query side alone
    searches the vectors that are there: nothing is encoded for it.

    Killed or interrupted, the same command goes on where it stopped: what is loaded is never encoded again.
    """
    from vecmigrate.versions import Element, State

    store = session.store
    entry = _chosen_model(session, reference)
    _prove_control(session, trust_control)
    wanted = _Wanted(entry.model, Element.FLOAT16 if halfvec else None, own_vectors)
    session.confirm(_build_plan(session, entry, wanted))
    with store.operation("shadow build", actor=session.actor):
        if not store.versions():
            store.adopt(session.control.model, actor=session.actor)
        version = _resumable(store, wanted) or _created(session, wanted)
        if trust_control and version.state is State.PLANNED:
            version = store.advance(version, State.BACKFILLING, actor=session.actor, note=UNPROVED)
        report = _build(session, version)
        found = _verified(session, report.version)
    _told(session, report, found.to_dict())
    if not found.ok:
        hint = f"vecmigrate shadow sync v{version.holder}" if version.holder else "the application maintains these: vecmigrate verify v0"
        raise PreflightRefused(f"{version.name}: {'; '.join(found.problems)}", hint=hint)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be built. `own` is for vectors of its own, whatever is there."""

    model: ModelVersion
    element: Element | None
    own: bool


def _created(session: Session, wanted: _Wanted) -> IndexVersion:
    """A new version; where it is to share vectors, only once these are proved to be what its model makes of its documents."""
    from vecmigrate.reindex import prove_sharing, require_shared

    holder = _holder(session, wanted)
    if holder is None:
        return session.store.create_version(wanted.model, element=wanted.element, actor=session.actor)
    require_shared(holder, prove_sharing(session.store, holder, session.encoders.encoder_of(wanted.model)))
    return session.store.create_version(wanted.model, shares=holder.name, actor=session.actor)


def _holder(session: Session, wanted: _Wanted) -> IndexVersion | None:
    """The version whose vectors are to be searched; before anything is adopted, that may be v0 as it will be."""
    from vecmigrate.reindex import vectors_to_share

    return None if wanted.own else vectors_to_share(session.store, wanted.model, element=wanted.element, control=session.control.model)


def _verified(session: Session, version: IndexVersion) -> Verification:
    """Of a version that searches the application's own vectors, what these lack is lacking already, and said, not held against it."""
    from vecmigrate.reindex import nothing_lost, verify_following

    found = verify_following(session.store, version, session.encoders, actor=session.actor)
    if not version.shares or version.holder:
        return found
    if found.differences.n_missing:
        session.err.print(f"caution  {version.shares} lacks {found.differences.n_missing} rows, and so does {version.name}")
    return nothing_lost(found)


def _chosen_model(session: Session, reference: str | None) -> ModelEntry:
    if reference:
        return session.model(reference)
    trained = [e for e in session.catalog.entries() if e.verdict]
    if not trained:
        raise UsageError("no trained model yet", hint="vecmigrate train makes one; --model NAME takes any other")
    return trained[-1]


def _prove_control(session: Session, trust: bool) -> None:
    """Before every build: a wrong name in [control], or an application that re-embeds by itself, would make every later figure wrong."""
    if trust:
        return
    from vecmigrate.reindex import prove_control
    from vecmigrate.store import control_version

    encoder = session.encoders.encoder_for(control_version(session.store, session.control.model))
    found = prove_control(session.store, encoder)
    session.err.print(f"control {found.sentence()}")
    found.require()


def _resumable(store: Store, wanted: _Wanted) -> IndexVersion | None:
    """The newest version of this model that is being built or is ready: of this element, and with vectors of its own, where that is asked."""
    from vecmigrate.cutover.disposal import UNFINISHED

    mine = [v for v in store.versions() if v.model.fingerprint == wanted.model.fingerprint and v.state in UNFINISHED]
    mine = [v for v in mine if wanted.element in (None, v.element) and not (wanted.own and v.shares)]
    return mine[-1] if mine else None


def _build_plan(session: Session, entry: ModelEntry, wanted: _Wanted) -> list[str]:
    from vecmigrate.versions import State

    resumable = _resumable(session.store, wanted)
    holder = None if resumable else _holder(session, wanted)
    shares = resumable.shares if resumable else holder.name if holder else ""
    what = f"go on with {resumable.name} ({resumable.state})" if resumable else f"make a new version of {session.store.collection}"
    verdict = f", verdict: {entry.verdict}" if entry.verdict else ""
    if shares:
        return [
            f"plan   {what} under {entry.model.name} ({entry.model.fingerprint[:12]}{verdict})",
            f"       it shares the vectors of {shares}: nothing is re-embedded, no new index, no disk; --own-vectors builds its own",
            "undo   vecmigrate shadow drop VERSION",
        ]
    rows = session.store.count()
    size = math.ceil(rows * entry.model.dimension * 4 / 2**20)
    same = [v.name for v in session.store.versions() if v.state is State.ACTIVE and v.model.fingerprint == entry.model.fingerprint]
    return [
        f"plan   {what}: {rows} chunks under {entry.model.name} ({entry.model.fingerprint[:12]}{verdict}), about {size} MiB of vectors, and their index",
        *(f"  caution  {name}, which serves, was made by this very model" for name in same),
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
        "shares": version.shares or None,
        "loaded": report.loaded,
        "removed": report.removed,
        "truncated": report.truncated,
        "seconds": round(report.seconds, 3),
        "verification": verification,
    }
    rate = report.loaded / report.seconds if report.seconds else 0
    done = f"{report.loaded} chunks encoded in {report.seconds:.1f} s ({rate:.0f}/s), {report.removed} removed"
    if version.shares:
        done = f"shares the vectors of {version.shares}, of which a sample was re-embedded; nothing was written but its record"
    lines = [f"{version.name} is {version.state}: {done}"]
    if report.truncated:
        lines.append(
            f"{report.truncated} chunks are longer than the model reads ({version.model.max_tokens} tokens): their ends are not searchable"
        )
    lines.append("verified" if verification["ok"] else f"NOT verified: {'; '.join(verification['problems'])}")
    session.emit(data, lines, following=f"vecmigrate compare {version.label}")


@shadow_command.command("sync")
@click.argument("version", required=False)
@click.option("--allow-mass-deletion", is_flag=True, help="Remove even more than a fifth of the version's rows.")
@click.pass_obj
def sync_command(session: Session, version: str | None, allow_mass_deletion: bool) -> None:
    """Bring what changed in the source into a version [default: every one that is kept up]."""
    from vecmigrate.versions import SEARCHABLE, State

    store = session.store
    kept = [v for v in store.versions() if v.number and v.state in SEARCHABLE]
    serving = {v.holder for v in kept if v.state is State.ACTIVE}
    chosen = [_with_vectors(session, version)] if version else [v for v in kept if not v.shares]
    chosen.sort(key=lambda v: v.number not in serving)  # what serves comes first
    if chosen:
        session.confirm(_sync_plan(store, chosen, allow_mass_deletion))
    with store.operation("shadow sync", actor=session.actor):
        outcomes = [_synced(session, v, allow_mass_deletion, alone=len(chosen) == 1) for v in chosen]
    data = {"versions": [o for o, _ in outcomes]}
    session.emit(data, [line for _, line in outcomes] or ["no version is kept up yet"], following="vecmigrate status --check")
    failed = [o for o, _ in outcomes if "error" in o]
    if failed:
        raise StoreError(
            "; ".join(f"{o['version']}: {o['error']}" for o in failed), hint="vecmigrate status --check shows how each version stands"
        )


def _with_vectors(session: Session, label: str) -> IndexVersion:
    """The named version, or the one of ours whose vectors it shares: those are what is brought up to date."""
    from vecmigrate.reindex import holder_of

    named = session.standing(label)
    holder = holder_of(session.store, named)
    return holder if holder.number else named


def _sync_plan(store: Store, versions: list[IndexVersion], allow_mass_deletion: bool) -> list[str]:
    from vecmigrate.reindex import refuse_mass_deletion

    lines = []
    for version in versions:
        found = store.differences(version, sample=0)
        if not allow_mass_deletion and len(versions) == 1:
            refuse_mass_deletion(version, found)
        lines.append(f"plan   {version.name}: encode {found.n_missing} missing and {found.n_stale} stale rows, remove {found.n_extra}")
    return [*lines, "undo   none needed: a version follows its source, which is only read"]


def _synced(session: Session, version: IndexVersion, allow_mass_deletion: bool, *, alone: bool) -> tuple[dict[str, Any], str]:
    """One version's outcome; an error of one keeps none of the others from being brought up to date. `alone`, it is raised."""
    from vecmigrate.reindex import sync

    try:
        encoder = session.encoders.encoder_for(version)
        done = sync(session.store, version, encoder, allow_mass_deletion=allow_mass_deletion, actor=session.actor)
    except VecmigrateError as error:
        if alone:
            raise
        return {"version": version.label, "error": str(error)}, f"{version.name}: FAILED: {error}"
    line = f"{version.name}: {done.loaded} encoded, {done.removed} removed in {done.seconds:.1f} s"
    return {"version": version.label, "loaded": done.loaded, "removed": done.removed}, line


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
    from vecmigrate.cli.retire import disk_lines, what_goes
    from vecmigrate.cutover import cancel
    from vecmigrate.cutover.disposal import require_cancellable, require_unshared
    from vecmigrate.versions import State

    target = session.version(version)
    require_cancellable(target)
    require_unshared(session.store, target, State.CANCELLED)
    session.confirm([what_goes(target), "undo   none: it would have to be built again"])
    with session.store.operation("shadow drop", actor=session.actor):
        gone = cancel(session.store, target, actor=session.actor)
    session.emit(
        {"version": gone.label, "state": gone.state}, [f"{gone.name} is dropped", *disk_lines(session, gone)], following="vecmigrate status"
    )
