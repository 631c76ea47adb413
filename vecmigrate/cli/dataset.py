"""`vecmigrate dataset`: freeze chunks, queries and judgments for training and testing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from vecmigrate.errors import DataError, UsageError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.dataset import Dataset
    from vecmigrate.encoding import Encoder
    from vecmigrate.querylog import JudgedLog
    from vecmigrate.versions import IndexVersion


@click.group("dataset")
def dataset_command() -> None:
    """Freeze chunks, queries and judgments for training and testing."""


_FILE = click.Path(path_type=Path, dir_okay=False)


@dataset_command.command("build")
@click.option("--queries", type=_FILE, help="Judged queries instead of a log: JSONL with id and text.")
@click.option("--qrels", type=_FILE, help="Their judgments: query id, chunk id and grade, tab-separated.")
@click.option("--pairs", type=_FILE, help="Pairs instead of a log: JSONL or CSV with query, chunk_id or the chunk's text, and a grade.")
@click.option("--faq", type=_FILE, help="Questions and answers instead of a log: JSONL or CSV; answers are looked up in the chunks.")
@click.option("--min-grade", type=float, help="The least grade of --qrels or --pairs that counts as relevant [default: above 0].")
@click.option(
    "--synthetic", type=click.Choice(["local", "endpoint", "none"]), help="Queries made from the chunks [default: as in [synthesis]]."
)
@click.option("--without-log", is_flag=True, help="Synthetic queries alone, although there is a log.")
@click.pass_obj
def build_command(session: Session, /, synthetic: str | None, without_log: bool, **given: Any) -> None:
    """Split the log's queries into train, dev and test, mine hard negatives, and freeze it all under a content hash.

    The store is only read. The same log, chunks and settings give the same hash. Synthetic queries beside a log only train; alone they
    are split, and their figures are an indication only. `endpoint` asks before it sends chunks anywhere.
    """
    from vecmigrate.dataset import build_dataset
    from vecmigrate.store import control_version

    kind = synthetic or session.config.synthesis.kind
    asked = None if _alone(session, kind, without_log, given) else _judged(session, **given)
    control = control_version(session.store, session.control.model)
    encoder = session.encoders.encoder_for(control)
    made = None if kind == "none" else _synthetic(session, control, encoder, kind)
    judged, lines = asked or (_enough(session, made), [])
    extra = made if asked else None
    dataset = build_dataset(session.store, control, encoder, judged, session.config.dataset, session.folder("datasets"), synthetic=extra)
    session.emit(_data(dataset), [*lines, *dataset.report, _where(dataset)], following="vecmigrate train")


def _alone(session: Session, kind: str, without_log: bool, given: Mapping[str, Any]) -> bool:
    """Whether there is nothing but synthetic queries."""
    files = [name for name in ("queries", "qrels", "pairs", "faq") if given[name]]
    if without_log and (kind == "none" or files):
        why = f"--{files[0]} is given" if files else "no synthetic queries are asked for"
        raise UsageError(f"--without-log leaves nothing out: {why}", hint="vecmigrate dataset build --synthetic local --without-log")
    log = session.config.log
    return without_log or (kind != "none" and not files and not (log.path or log.table or log.sql))


def _synthetic(session: Session, control: IndexVersion, encoder: Encoder, kind: str) -> JudgedLog:
    from vecmigrate.synthesis import endpoint_queries, local_queries, synthesise

    settings = session.config.synthesis
    if kind == "local":
        return synthesise(session.store, control, encoder, settings, local_queries(session.store, settings))
    with session.progress("ask") as bar:
        task = bar.add_task("", total=None, status="")

        def agree(plan: Sequence[str]) -> None:
            bar.stop()
            session.confirm(plan, what="this sends chunks to an endpoint")
            bar.start()

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        generate = endpoint_queries(settings, session.folder("synthesis"), agree, root=session.config.root, progress=show)
        return synthesise(session.store, control, encoder, settings, generate)


def _enough(session: Session, made: JudgedLog | None) -> JudgedLog:
    """The synthetic log, if a dataset can be made of it alone; what was left out and why is shown where it can't."""
    from vecmigrate.dataset.splitting import FEWEST_QUERIES

    if made is None:
        raise UsageError(
            "there is no query log and nothing in its place", hint="vecmigrate logs import, or dataset build --synthetic local"
        )
    if len(made.queries) < FEWEST_QUERIES:
        for line in made.report.lines():
            session.err.print(line)
        raise DataError(
            f"{len(made.queries)} synthetic queries are left; at least {FEWEST_QUERIES} are needed",
            hint="the lines above say why; max_chunks, per_chunk, copied_words and round_trip under [synthesis] decide",
        )
    return made


def _judged(
    session: Session, queries: Path | None, qrels: Path | None, pairs: Path | None, faq: Path | None, min_grade: float | None
) -> tuple[JudgedLog, list[str]]:
    from vecmigrate.querylog import judged_from_faq, judged_from_files, judged_from_pairs

    if bool(queries) != bool(qrels):
        raise UsageError("--queries and --qrels go together", hint="name both files, or neither to use the log of [log]")
    if sum(map(bool, (queries, pairs, faq))) > 1:
        raise UsageError("--queries with --qrels, --pairs and --faq are each in place of a log", hint="name one of them")
    if min_grade is not None and not (qrels or pairs):
        raise UsageError("--min-grade is for --qrels and --pairs", hint="a log's is min_rating under [log]")
    redact = session.config.log.redact
    if queries and qrels:
        return judged_from_files(queries, qrels, min_grade=min_grade, redact=redact), []
    if pairs:
        return judged_from_pairs(pairs, session.store, min_grade=min_grade, redact=redact), []
    if faq:
        return judged_from_faq(faq, session.store, redact=redact), []
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
    """A dataset by the first digits of its hash, or the newest. Raises `DataError` when there is none, or it is of another format,
    `UsageError` for an unknown one.
    """
    from vecmigrate.dataset import Dataset, foreign_datasets, latest, list_datasets

    folder = session.folder("datasets")
    foreign = foreign_datasets(folder)
    if reference is None:
        newest = latest(folder)
        for place in foreign:
            session.err.print(f"passed over {place}: another version's dataset; taken is {newest.hash[:12]}, the newest of this version's")
        return newest
    found = [d for d in list_datasets(folder) if d.hash.startswith(reference)]
    for place in foreign:
        if not found and place.name.startswith(reference[: len(place.name)]):
            Dataset.load(place)  # raises, and says which format it has
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
