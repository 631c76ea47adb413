"""`vecmigrate compare`: old and new retrieval side by side, with statistics and a gate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from vecmigrate.errors import DataError, GateFailed, NotFound, PreflightRefused, UsageError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.dataset import Dataset
    from vecmigrate.evaluation import CompareRequest, Comparison, GateResult
    from vecmigrate.records import Query
    from vecmigrate.versions import IndexVersion


@click.command("compare")
@click.argument("version", required=False)
@click.option("--against", help="The version to compare with [default: the one that serves].")
@click.option("--dataset", "reference", metavar="HASH", help="Whose test queries [default: those of the model's own dataset].")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write a self-contained HTML report here.")
@click.option("--no-texts", is_flag=True, help="Keep the texts of queries and chunks out of the results.")
@click.option("--no-gate", is_flag=True, help="Exit 0 whatever the gate says.")
@click.pass_obj
def compare_command(
    session: Session, version: str | None, against: str | None, reference: str | None, report: Path | None, no_texts: bool, no_gate: bool
) -> None:
    """Compare a version (default: the newest that is ready) with the one that serves, on queries the training never saw.

    Both through the store's own search, and exactly. Exit 3 when the gate of vecmigrate.toml is not passed.
    """
    from vecmigrate.evaluation import judge_gate
    from vecmigrate.evaluation.terminal import render_terminal

    candidate = session.candidate(version)
    control = session.standing(against or f"v{session.pointer().active}")
    _require_searchable(control, candidate)
    if candidate.number == control.number:
        raise UsageError(f"{candidate.name} can't be compared with itself", hint="--against names another version")
    dataset = _dataset(session, candidate, reference)
    found = _compare(session, control, candidate, _request(session, (control, candidate), dataset, not no_texts))
    gate = judge_gate(found, session.config.gate)
    saved = found.save(session.folder("comparisons"))
    if report:
        _write_report(report, found, session)
    where = [f"saved {saved}" + (f"; report {report}" if report else "")]
    session.emit(
        {"comparison": found.to_dict(), "gate": gate.to_dict()},
        [render_terminal(found, gate), *where],
        following=_next(gate, candidate),
    )
    if not gate.passed and not no_gate:
        failures = "; ".join(f"{c.name}: {c.observed}, expected {c.expected}" for c in gate.failures)
        raise GateFailed(f"{candidate.name}: {gate.outcome}: {failures}", hint=_next(gate, candidate))


def _require_searchable(*versions: IndexVersion) -> None:
    from vecmigrate.versions import SEARCHABLE

    for version in versions:
        if version.state not in SEARCHABLE:
            raise PreflightRefused(
                f"{version.name} is {version.state} and cannot be searched yet",
                hint=f"vecmigrate shadow build --model {version.model.name}",
            )


def _dataset(session: Session, candidate: IndexVersion, reference: str | None) -> Dataset:
    """The dataset that the candidate was trained on, so that its test queries are unseen; for other models the newest."""
    from vecmigrate.cli.dataset import find_dataset
    from vecmigrate.dataset import foreign_datasets, list_datasets

    trained_on = lineage(session, candidate).get("dataset")
    here = [d.hash for d in list_datasets(session.folder("datasets"))]
    foreign = [place.name for place in foreign_datasets(session.folder("datasets"))]
    if reference is None and trained_on is not None and not trained_on.startswith((*here, *foreign)):
        there = f"there are: {', '.join(h[:12] for h in here)}" if here else "there is none"
        raise NotFound(
            f"{candidate.model.name} was trained on dataset {trained_on[:12]}, which is not in this workspace; {there}",
            hint="copy it from where it was trained; or --dataset HASH, whose test queries the training may have met",
        )
    return find_dataset(session, reference or trained_on)


def lineage(session: Session, version: IndexVersion) -> Mapping[str, Any]:
    """Where the model of a version comes from; empty for one that was not trained here."""
    return _lineage_of(session, version.model.fingerprint)


def _lineage_of(session: Session, fingerprint: str) -> Mapping[str, Any]:
    entries = [e for e in session.catalog.entries() if e.model.fingerprint == fingerprint]
    return entries[-1].lineage if entries else {}


def _trained_on(session: Session, version: IndexVersion) -> list[str]:
    """The hashes of the datasets that a version's model, and each model that it was made from, was trained on."""
    found: list[str] = []
    fingerprint, passed = version.model.fingerprint, set[str]()
    while fingerprint and fingerprint not in passed:
        passed.add(fingerprint)
        origin = _lineage_of(session, fingerprint)
        found += [origin["dataset"]] if "dataset" in origin else []
        fingerprint = origin.get("base", {}).get("fingerprint", "")
    return found


def _unseen(session: Session, versions: tuple[IndexVersion, IndexVersion], dataset: Dataset) -> tuple[list[Query], tuple[str, ...]]:
    """The test queries that neither side's model has met in the training of an earlier round, and what there is to say of the others."""
    from vecmigrate.dataset import Split, caution, list_datasets, met_in_training

    here = {d.hash: d for d in list_datasets(session.folder("datasets"))}
    queries = dataset.queries(Split.TEST)
    notes = [unasked] if (unasked := caution(queries, "test queries")) else []
    met: set[str] = set()
    for side, version in zip(("control", "candidate"), versions, strict=True):
        others = [h for h in _trained_on(session, version) if h != dataset.hash]
        gone = [h[:12] for h in others if h not in here]
        by_this = met_in_training(queries, [here[h] for h in others if h in here])
        met |= by_this
        if by_this:
            notes.append(f"{len(by_this)} of {len(queries)} test queries left out: the {side}'s model met them in an earlier training")
        if gone:
            notes.append(
                f"the {side}'s model was also trained on dataset {', '.join(gone)}, which is not here: it may have seen test queries"
            )
    if met and len(met) == len(queries):
        raise DataError("; ".join(notes), hint="build a dataset from a newer log: vecmigrate logs import, then vecmigrate dataset build")
    behind = session.store.differences(versions[1], sample=0)
    if versions[1].holder and not behind.clean:
        shown = f"missing {behind.n_missing}, stale {behind.n_stale}, extra {behind.n_extra}"
        notes.append(f"{versions[1].name} is behind its source ({shown}): vecmigrate shadow sync v{versions[1].holder} first")
    return [query for query in queries if query.id not in met], tuple(notes)


def _request(session: Session, versions: tuple[IndexVersion, IndexVersion], dataset: Dataset, show_texts: bool) -> CompareRequest:
    from vecmigrate.dataset import Split, list_datasets
    from vecmigrate.evaluation import CompareRequest
    from vecmigrate.evaluation.subject import DEFAULT_MEASURES

    gate, candidate = session.config.gate, versions[1]
    entries = [e for e in session.catalog.entries() if e.model.fingerprint == candidate.model.fingerprint]
    queries, notes = _unseen(session, versions, dataset)
    trained_on = set(_trained_on(session, candidate))
    asked = {query.id for query in queries}
    return CompareRequest(
        queries=queries,
        judgments=[j for j in dataset.judgments(Split.TEST) if j.query_id in asked],
        encoders=session.encoders,
        trained_chunks=frozenset[str]().union(
            *(d.trained_chunks for d in list_datasets(session.folder("datasets")) if d.hash in trained_on)
        ),
        measures=tuple(dict.fromkeys([gate.measure, *DEFAULT_MEASURES])),
        confidence=gate.confidence,
        show_texts=show_texts,
        dataset_hash=dataset.hash,
        training_verdict=(entries[-1].verdict or "") if entries else "",
        notes=notes,
    )


def _compare(session: Session, control: IndexVersion, candidate: IndexVersion, request: CompareRequest) -> Comparison:
    from dataclasses import replace

    from vecmigrate.evaluation import compare

    with session.progress("compare") as bar:
        task = bar.add_task("", total=None, status="")

        def show(stage: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, status=stage)

        return compare(session.store, control, candidate, replace(request, progress=show))


def _write_report(path: Path, found: Comparison, session: Session) -> None:
    from vecmigrate.evaluation import judge_gate
    from vecmigrate.evaluation.report import render_html

    try:
        path.write_text(render_html(found, judge_gate(found, session.config.gate)), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="--report names another file") from error


def _next(gate: GateResult, candidate: IndexVersion) -> str:
    from vecmigrate.evaluation import Outcome

    if gate.outcome is Outcome.UNDERPOWERED:
        return f"undecided: keep {candidate.label}, and compare again when the log has more queries"
    if gate.outcome is Outcome.UNDECIDED:
        return f"undecided: keep {candidate.label}, and compare again with a log of what users ask: vecmigrate logs import"
    if gate.passed:
        return f"vecmigrate plan {candidate.label}, then vecmigrate cutover {candidate.label}"
    return f"keep what serves; vecmigrate shadow drop {candidate.label} frees the space"
