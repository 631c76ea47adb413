"""`vecmigrate init`: look at a store and write vecmigrate.toml. The store is only read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from vecmigrate.errors import UsageError

if TYPE_CHECKING:
    import tomlkit

    from vecmigrate.cli.session import Session
    from vecmigrate.store import Inspection

GUIDE = """\
# [control] says which model made the vectors that serve now; `vecmigrate inspect` proves it.
# [log] is written by `vecmigrate logs import`. [dataset], [training], [encoding] and [gate] have defaults.
"""


@click.command("init")
@click.option("--table", help="PostgreSQL: the table with texts and vectors, schema.table.")
@click.option("--dsn-env", default="DATABASE_URL", show_default=True, help="PostgreSQL: the environment variable that holds the DSN.")
@click.option("--text", "text_column", help="PostgreSQL: the column that was embedded [default: detected].")
@click.option("--embedding", help="PostgreSQL: the vector column [default: detected].")
@click.option(
    "--metric",
    type=click.Choice(["cosine", "inner_product", "l2"]),
    help="PostgreSQL: how vectors are compared [default: as the index does].",
)
@click.option("--where", help="PostgreSQL: an SQL condition that selects the collection's rows.")
@click.option("--chroma-path", help="Chroma: a persistent directory.")
@click.option("--chroma-url", help="Chroma: a server, http://host:port.")
@click.option("--source", help="Chroma: the application's collection.")
@click.option("--collection", default="docs", show_default=True, help="What it is called in vecmigrate: small letters, digits and _.")
@click.option(
    "--model", "model", default="sentence-transformers/all-MiniLM-L6-v2", show_default=True, help="The model that made the vectors."
)
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), default=Path("vecmigrate.toml"), show_default=True)
@click.option("--force", is_flag=True, help="Write [store] and [control] of an existing file anew; its other sections stay.")
@click.pass_obj
def init_command(session: Session, /, output: Path, force: bool, collection: str, model: str, **given: str | None) -> None:
    """Look at a store and write vecmigrate.toml.

    Secrets stay out of the file: it names the environment variable that holds the DSN. Other keys of [store] for PostgreSQL:
    text_sql, key, metadata.
    """
    from vecmigrate.cli.inspect import inspection_lines
    from vecmigrate.config import COLLECTION_NAME
    from vecmigrate.registry import open_store

    if not re.fullmatch(COLLECTION_NAME, collection):
        raise UsageError(
            f"--collection {collection}: small letters, digits and _ only, a letter first, at most 40",
            hint="it is what the collection is called in vecmigrate; --source or --table says which one it is",
        )
    if output.exists() and not force:
        raise UsageError(f"{output} exists", hint="edit it, or --force writes its [store] and [control] anew")
    adapter, settings = _settings(given)
    store = open_store(adapter, settings, collection=collection)
    try:
        found = store.inspect()
    finally:
        store.close()
    _write(output, {"adapter": adapter, "collection": collection, **settings}, model)
    session.emit(
        {"file": str(output), "store": {"adapter": adapter, **settings}},
        [*inspection_lines(found), f"wrote      {output}"],
        following=_next(found),
    )


def _settings(given: dict[str, str | None]) -> tuple[str, dict[str, Any]]:
    chroma = {"path": given["chroma_path"], "url": given["chroma_url"], "source": given["source"]}
    postgres = {
        "table": given["table"],
        "text": given["text_column"],
        "embedding": given["embedding"],
        "metric": given["metric"],
        "where": given["where"],
    }
    if any(chroma.values()):
        if given["table"]:
            raise UsageError("--table is PostgreSQL's, --chroma-path, --chroma-url and --source are Chroma's", hint="name one store")
        return "chroma", {k: v for k, v in chroma.items() if v}
    if not given["table"]:
        raise UsageError("which store?", hint="--table SCHEMA.TABLE for PostgreSQL, --chroma-path or --chroma-url with --source for Chroma")
    return "pgvector", {"dsn_env": given["dsn_env"], **{k: v for k, v in postgres.items() if v}}


def _write(output: Path, store: dict[str, Any], model: str) -> None:
    import tomlkit

    try:
        document = tomlkit.parse(output.read_text(encoding="utf-8")) if output.exists() else _guided()
    except (OSError, ValueError) as error:
        raise UsageError(f"{output} is not TOML that can be kept: {error}", hint="move it away first") from error
    document["store"] = store
    document["control"] = {"model": model}
    try:
        output.write_text(tomlkit.dumps(document), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}", hint="--output names another file") from error


def _guided() -> tomlkit.TOMLDocument:
    import tomlkit

    document = tomlkit.document()
    for line in GUIDE.splitlines():
        document.add(tomlkit.comment(line.removeprefix("# ")))
    return document


def _next(found: Inspection) -> str:
    return "vecmigrate inspect" if found.rows else "fill the collection first: it has no rows"
