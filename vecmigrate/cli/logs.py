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
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--table", help="PostgreSQL: the table with the log, schema.table.")
@click.option("--sql", help="PostgreSQL: a SELECT that yields the log.")
@click.option(
    "--format", "format", help="What wrote the log [default: told by its keys]: rows, phoenix, otel, langfuse, …, as in the docs."
)
@click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS", help="What a field is called in the log, such as user_query=q.")
@click.option("--resolve-by", type=click.Choice(["auto", "id", "metadata", "text"]), help="How the log names chunks.")
@click.option("--metadata-key", help="The metadata field that holds what the log names.")
@click.option("--min-rating", type=float, help="The least rating that counts as relevant [default: as in vecmigrate.toml, else 1].")
@click.option("--min-support", type=int, help="How many people a click needs [default: as in vecmigrate.toml, else 1].")
@click.option("--redact/--no-redact", default=None, help="Replace personal data in searches [default: as in vecmigrate.toml, else yes].")
@click.pass_obj
def import_command(session: Session, /, paths: tuple[Path, ...], columns: tuple[str, ...], **given: Any) -> None:
    """Read a log (JSONL, JSON, CSV, Parquet, a table or SQL), match it with the store, and note it in vecmigrate.toml.

    Further paths are files of the same export: scores, annotations, feedback. Fields: query_id, user_query, timestamp, session_id, user_id,
    tenant, query_response_hit_ids, clicked_ids, clicked_position, click_count, dwell_seconds, cited_ids, approved_ids, ratings; lines of
    User Behavior Insights; or exports of Phoenix, OpenTelemetry, Langfuse, LangSmith, Open WebUI and Dify. The log itself is not copied.
    The other settings of [log] stay as they are.
    """
    if not paths and not (given["table"] or given["sql"]):
        raise UsageError(
            "which log?", hint="vecmigrate logs import PATH, --table SCHEMA.TABLE or --sql 'SELECT …'; `logs stats` reads that of [log]"
        )
    section = _section(paths, columns, given, session.config.log)
    data, lines = _worth(*read_log(session, section, Path.cwd()))
    _note(session, section)
    session.emit(data, [*lines, "noted under [log] in vecmigrate.toml"], following="vecmigrate dataset build")


@logs_command.command("stats")
@click.pass_obj
def stats_command(session: Session) -> None:
    """Read the log of [log] again: how much could be read, matched with the store, and judged, and what was left out and why."""
    data, lines = _worth(*read_log(session, session.config.log, session.config.root))
    session.emit(data, lines, following="vecmigrate dataset build")


_OF_THE_SOURCE = frozenset({"path", "also", "table", "sql", "format", "columns", "resolve_by", "metadata_key"})
"""What belongs to one log, and is not taken over from the last that was imported."""


def _section(paths: tuple[Path, ...], columns: tuple[str, ...], given: dict[str, Any], noted: LogSection) -> LogSection:
    from pydantic import ValidationError

    from vecmigrate.config import LogSection

    renamed = dict(c.partition("=")[::2] for c in columns)
    if not all(renamed.values()):
        raise UsageError("--column needs OURS=THEIRS", hint="such as --column user_query=q")
    rules = {name: value for name, value in noted.model_dump(exclude_defaults=True).items() if name not in _OF_THE_SOURCE}
    files = [path.resolve() for path in paths]
    source = {"path": next(iter(files), None), "also": files[1:], "columns": renamed}
    source |= rules | {name: value for name, value in given.items() if value is not None}
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
    if section.path is not None:
        noted["path"], *also = (_beside(path, file.parent.resolve()) for path in (section.path, *section.also))
        noted |= {"also": also} if also else {}
    document["log"] = noted
    try:
        file.write_text(tomlkit.dumps(document), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}", hint="make it writable, then import again") from error


def _beside(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
