"""`vecmigrate inspect`: what is in the store, and did the named model make its vectors? Writes nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.reindex import Provenance
    from vecmigrate.store import Inspection


@click.command("inspect")
@click.option(
    "--sample",
    default=64,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many chunks to re-embed to prove the model; 0 skips it.",
)
@click.pass_obj
def inspect_command(session: Session, sample: int) -> None:
    """What is in the store, and did the model of [control] make its vectors? Read access is enough; exit 4 when it did not."""
    found = session.store.inspect()
    proof = _prove(session, sample) if sample else None
    data = asdict(found) | {"provenance": None if proof is None else asdict(proof) | {"confirmed": proof.confirmed}}
    session.emit(
        data, [*inspection_lines(found), *([f"model      {proof.sentence()}"] if proof else [])], following=_next(session, found, proof)
    )
    if proof is not None:
        proof.require()


def _next(session: Session, found: Inspection, proof: Provenance | None) -> str:
    if not found.rows:
        return "fill the collection first: it has no rows"
    if proof is not None and not proof.confirmed:
        return "mend [control] or [store] text in vecmigrate.toml"
    log = session.config.log
    return "vecmigrate dataset build" if log.path or log.table or log.sql else "vecmigrate logs import PATH (or --table, --sql)"


def _prove(session: Session, sample: int) -> Provenance:
    """Of the model that [control] names now, whatever v0 was registered under."""
    from vecmigrate.reindex import prove_control

    return prove_control(session.store, session.encoders.encoder_of(session.control.model), sample=sample)


def inspection_lines(found: Inspection) -> list[str]:
    """The inspection in words, one fact a line."""
    dimensions = ", ".join(f"{d} ({n} rows)" for d, n in sorted(found.dimensions.items())) or "no vectors"
    ann = "no ANN index" if found.ann.kind == "none" else f"{found.ann.kind} m={found.ann.m} ef_construction={found.ann.ef_construction}"
    lines = [
        f"store      {found.adapter}: {found.location}, {found.server}",
        f"rows       {found.rows} ({found.rows_without_text} without text, {found.rows_without_vector} without vector)",
        f"key        {found.key}",
        f"text       {found.text}",
        f"vectors    {dimensions}, {found.element}, {found.metric}, {ann}",
        f"filters    {', '.join(f'{k} ({v})' for k, v in found.filter_fields.items()) or 'no metadata fields'}",
    ]
    lines += [f"{label:<10} {value}" for label, value in found.details]
    return lines + [f"warning    {w}" for w in found.warnings]
