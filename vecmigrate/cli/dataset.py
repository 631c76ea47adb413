"""`vecmigrate dataset`: freeze chunks, queries and judgments for training and testing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from vecmigrate.errors import DataError, UsageError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.dataset import Dataset
    from vecmigrate.querylog import JudgedLog


@click.group("dataset")
def dataset_command() -> None:
    """Freeze chunks, queries and judgments for training and testing."""


@dataset_command.command("build")
@click.option("--queries", type=click.Path(path_type=Path, dir_okay=False), help="Judged queries instead of a log: JSONL with id and text.")
@click.option(
    "--qrels", type=click.Path(path_type=Path, dir_okay=False), help="Their judgments: query id, chunk id and grade, tab-separated."
)
@click.pass_obj
def build_command(session: Session, queries: Path | None, qrels: Path | None) -> None:
    """Split the log's queries into train, dev and test, mine hard negatives, and freeze it all under a content hash.

    The store is only read. The same log, chunks and settings give the same hash.
    """
    from vecmigrate.dataset import build_dataset
    from vecmigrate.store import control_version

    judged, lines = _judged(session, queries, qrels)
    control = control_version(session.store, session.control.model)
    encoder = session.encoders.encoder_for(control)
    dataset = build_dataset(session.store, control, encoder, judged, session.config.dataset, session.folder("datasets"))
    session.emit(_data(dataset), [*lines, *dataset.report, _where(dataset)], following="vecmigrate train")


def _judged(session: Session, queries: Path | None, qrels: Path | None) -> tuple[JudgedLog, list[str]]:
    if queries and qrels:
        from vecmigrate.querylog import judged_from_files

        return judged_from_files(queries, qrels), []
    if queries or qrels:
        raise UsageError("--queries and --qrels go together", hint="name both files, or neither to use the log of [log]")
    from vecmigrate.cli.logs import read_log

    read, resolution, judged = read_log(session, session.config.log, session.config.root)
    return judged, [*read.lines(), *resolution.lines()]


@dataset_command.command("show")
@click.argument("reference", required=False, metavar="[HASH]")
@click.pass_obj
def show_command(session: Session, reference: str | None) -> None:
    """What a dataset [default: the newest] holds, and how it came to be."""
    dataset = find_dataset(session, reference)
    session.emit(_data(dataset), [*dataset.report, _where(dataset)], following="vecmigrate train")


def find_dataset(session: Session, reference: str | None) -> Dataset:
    """A dataset by the first digits of its hash, or the newest. Raises `DataError` when there is none, `UsageError` for an unknown one."""
    from vecmigrate.dataset import latest, list_datasets

    folder = session.folder("datasets")
    if reference is None:
        newest = latest(folder)
        if newest is None:
            raise DataError("there is no dataset yet", hint="vecmigrate dataset build makes one")
        return newest
    found = [d for d in list_datasets(folder) if d.hash.startswith(reference)]
    if len(found) != 1:
        raise UsageError(f"{len(found)} datasets begin with {reference!r}", hint=f"look into {folder}")
    return found[0]


def _where(dataset: Dataset) -> str:
    return f"dataset {dataset.hash[:12]} in {dataset.folder}"


def _data(dataset: Dataset) -> dict[str, Any]:
    return {
        "hash": dataset.hash,
        "collection": dataset.collection,
        "control_fingerprint": dataset.control_fingerprint,
        "created_at": dataset.created_at.isoformat(),
        "counts": dict(dataset.counts),
        "report": list(dataset.report),
        "folder": str(dataset.folder),
    }
