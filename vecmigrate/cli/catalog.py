"""`vecmigrate models`: the model versions at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.encoding import ModelEntry


@click.group("models")
def models_command() -> None:
    """The model versions at hand."""


@models_command.command("list")
@click.pass_obj
def list_command(session: Session) -> None:
    """Every model of the workspace, oldest first."""
    from vecmigrate.cli.tables import plain_table

    entries = session.catalog.entries()
    table = plain_table(
        "name",
        "fingerprint",
        "dim",
        "max tokens",
        "precision",
        "verdict",
        "source",
        right=("dim", "max tokens"),
        cut=("source",),
    )
    for e in entries:
        m = e.model
        table.add_row(m.name, m.fingerprint[:12], str(m.dimension), str(m.max_tokens or ""), m.precision, e.verdict or "", m.source)
    text = [table] if entries else ["no models yet"]
    session.emit(
        {"models": [_data(e) for e in entries]}, text, following="vecmigrate shadow build --model NAME" if entries else "vecmigrate train"
    )


@models_command.command("show")
@click.argument("reference")
@click.pass_obj
def show_command(session: Session, reference: str) -> None:
    """One model: its identity, where it came from, its scores and its verdict. REFERENCE is a name or the fingerprint's first digits."""
    entry = session.catalog.get(reference)
    shown = {**entry.model.to_dict(), "verdict": entry.verdict or "not trained here", **entry.lineage}
    lines = [f"{key:<32} {value}" for key, value in _flat(shown)]
    session.emit(_data(entry), lines, following=f"vecmigrate shadow build --model {entry.model.name}")


@models_command.command("add")
@click.argument("source")
@click.option("--name", help="What to call it here [default: from its source].")
@click.option("--query-prompt", help="What is put before a query [default: the model's own].")
@click.option("--document-prompt", help="What is put before a chunk [default: the model's own].")
@click.pass_obj
def add_command(session: Session, source: str, name: str | None, query_prompt: str | None, document_prompt: str | None) -> None:
    """Add a model that needs no training, from a directory or a hub: "just upgrade" goes the same way as a trained one."""
    entry = session.catalog.ensure(
        source, name=name, settings=session.config.encoding, query_prompt=query_prompt, document_prompt=document_prompt
    )
    lines = [f"{entry.model.name}: {entry.model.dimension} dimensions, fingerprint {entry.model.fingerprint[:12]}"]
    session.emit(_data(entry), lines, following=f"vecmigrate shadow build --model {entry.model.name}")


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as dotted names, as in vecmigrate.toml."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _data(entry: ModelEntry) -> dict[str, Any]:
    return {**entry.model.to_dict(), "verdict": entry.verdict, "lineage": dict(entry.lineage), "created_at": entry.created_at.isoformat()}
