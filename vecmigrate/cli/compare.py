"""`vecmigrate compare`: old and new retrieval side by side, with statistics and a gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from vecmigrate.errors import GateFailed, UsageError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.dataset import Dataset
    from vecmigrate.evaluation import CompareRequest, Comparison, GateResult
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
    control = session.version(against or f"v{session.pointer().active}")
    if candidate.number == control.number:
        raise UsageError(f"{candidate.name} can't be compared with itself", hint="--against names another version")
    dataset = _dataset(session, candidate, reference)
    found = _compare(session, control, candidate, _request(session, candidate, dataset, not no_texts))
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


def _dataset(session: Session, candidate: IndexVersion, reference: str | None) -> Dataset:
    """The dataset that the candidate was trained on, so that its test queries are unseen; for other models the newest."""
    from vecmigrate.cli.dataset import find_dataset

    trained_on = lineage(session, candidate).get("dataset")
    if reference is None or not trained_on:
        return find_dataset(session, reference or trained_on)
    chosen = find_dataset(session, reference)
    if chosen.hash != trained_on:
        session.err.print(
            f"warning: {candidate.model.name} was trained on dataset {trained_on[:12]}; it may have seen queries of {chosen.hash[:12]}"
        )
    return chosen


def lineage(session: Session, candidate: IndexVersion) -> dict[str, str]:
    """What the model of a version was trained on; empty for one that was not trained here."""
    entries = [e for e in session.catalog.entries() if e.model.fingerprint == candidate.model.fingerprint]
    return dict(entries[-1].lineage) if entries else {}


def _request(session: Session, candidate: IndexVersion, dataset: Dataset, show_texts: bool) -> CompareRequest:
    from vecmigrate.dataset import Split
    from vecmigrate.evaluation import CompareRequest
    from vecmigrate.evaluation.subject import DEFAULT_MEASURES

    gate = session.config.gate
    entries = [e for e in session.catalog.entries() if e.model.fingerprint == candidate.model.fingerprint]
    return CompareRequest(
        queries=dataset.queries(Split.TEST),
        judgments=dataset.judgments(Split.TEST),
        encoders=session.encoders,
        trained_chunks=dataset.trained_chunks,
        measures=tuple(dict.fromkeys([gate.measure, *DEFAULT_MEASURES])),
        confidence=gate.confidence,
        show_texts=show_texts,
        dataset_hash=dataset.hash,
        training_verdict=(entries[-1].verdict or "") if entries else "",
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
    if gate.passed:
        return f"vecmigrate plan {candidate.label}, then vecmigrate cutover {candidate.label}"
    return f"keep what serves; vecmigrate shadow drop {candidate.label} frees the space"
