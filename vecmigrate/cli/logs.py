"""`vecmigrate logs`: read the query log and say what it is worth."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from vecmigrate.errors import UsageError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.config import LogSection
    from vecmigrate.querylog import JudgedLog, ReadReport, ResolutionReport


@click.group("logs")
def logs_command() -> None:
    """Read the query log and say what it is worth."""


@logs_command.command("import")
@click.argument("path", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--table", help="PostgreSQL: the table with the log, schema.table.")
@click.option("--sql", help="PostgreSQL: a SELECT that yields the log.")
@click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS", help="What a field is called in the log, such as user_query=q.")
@click.option("--resolve-by", type=click.Choice(["auto", "id", "metadata", "text"]), help="How the log names chunks.")
@click.option("--metadata-key", help="The metadata field that holds what the log names.")
@click.option("--min-rating", type=float, help="The least rating that counts as relevant [default: as in vecmigrate.toml, else 1].")
@click.pass_obj
def import_command(session: Session, /, path: Path | None, columns: tuple[str, ...], **given: Any) -> None:
    """Read a log (JSONL, CSV, Parquet, a table or SQL), match it with the store, and note it in vecmigrate.toml.

    Fields: query_id, user_query, timestamp, session_id, user_id, query_response_hit_ids, clicked_ids, cited_ids, ratings; or lines of
    User Behavior Insights as they are. The log itself is not copied.
    """
    if path is None and not (given["table"] or given["sql"]):
        raise UsageError(
            "which log?", hint="vecmigrate logs import PATH, --table SCHEMA.TABLE or --sql 'SELECT …'; `logs stats` reads that of [log]"
        )
    if given["min_rating"] is None:
        given["min_rating"] = session.config.log.min_rating
    section = _section(path, columns, given)
    data, lines = _worth(*read_log(session, section, Path.cwd()))
    _note(session, section)
    session.emit(data, [*lines, "noted under [log] in vecmigrate.toml"], following="vecmigrate dataset build")


@logs_command.command("stats")
@click.pass_obj
def stats_command(session: Session) -> None:
    """Read the log of [log] again: how much could be read, matched with the store, and judged, and what was left out and why."""
    data, lines = _worth(*read_log(session, session.config.log, session.config.root))
    session.emit(data, lines, following="vecmigrate dataset build")


def _section(path: Path | None, columns: tuple[str, ...], given: dict[str, Any]) -> LogSection:
    from pydantic import ValidationError

    from vecmigrate.config import LogSection

    renamed = dict(c.partition("=")[::2] for c in columns)
    if not all(renamed.values()):
        raise UsageError("--column needs OURS=THEIRS", hint="such as --column user_query=q")
    source = {"path": path.resolve() if path else None, "columns": renamed, **{k: v for k, v in given.items() if v is not None}}
    try:
        return LogSection.model_validate(source)
    except ValidationError as error:
        raise UsageError(str(error.errors(include_url=False)[0]["msg"]), hint="vecmigrate logs import --help lists the fields") from None


def read_log(session: Session, section: LogSection, root: Path) -> tuple[ReadReport, ResolutionReport, JudgedLog]:
    """Read, resolve and judge the log."""
    from vecmigrate.querylog import judge, read_events, resolve
    from vecmigrate.store import RowSource

    store = session.store
    events = read_events(section, root=root, rows=store if isinstance(store, RowSource) else None)
    resolved = resolve(events, store, section)
    return events.report, resolved.report, judge(resolved)


def _worth(read: ReadReport, resolution: ResolutionReport, judged: JudgedLog) -> tuple[dict[str, Any], list[str]]:
    data = {"read": asdict(read), "resolved": asdict(resolution), "judged": asdict(judged.report)}
    return data, [*read.lines(), *resolution.lines(), *judged.report.lines()]


def _note(session: Session, section: LogSection) -> None:
    """Write `[log]` into the configuration file, leaving the rest of it as it stands."""
    import tomlkit

    from vecmigrate.config import find_config

    file = session.config_path or find_config()
    document = tomlkit.parse(file.read_text(encoding="utf-8"))
    noted = section.model_dump(mode="json", exclude_defaults=True)
    if section.path is not None and section.path.is_relative_to(file.parent.resolve()):
        noted["path"] = str(section.path.relative_to(file.parent.resolve()))
    document["log"] = noted
    try:
        file.write_text(tomlkit.dumps(document), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}", hint="make it writable, then import again") from error
