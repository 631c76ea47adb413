"""`vecmigrate verify`: prove that a version is complete and made by its model. Writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

from vecmigrate.errors import DataError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.reindex import Verification
    from vecmigrate.store import Health


@click.command("verify")
@click.argument("version", required=False)
@click.option("--sample", default=64, show_default=True, type=click.IntRange(min=0), help="How many chunks to re-embed.")
@click.pass_obj
def verify_command(session: Session, version: str | None, sample: int) -> None:
    """Compare a version (default: the one that serves) with its source, row by row.

    Key sets, text hashes, unusable vectors, the index, and a sample re-embedded. Exit 1 when anything is wrong.
    """
    from vecmigrate.reindex import verify

    chosen = session.standing(version or f"v{session.pointer().active}")
    found = verify(session.store, chosen, session.encoders.encoder_for(chosen) if sample else None, sample=sample)
    following = "vecmigrate status" if found.ok else _remedy(found)
    session.emit(found.to_dict(), verification_lines(found), following=following)
    if not found.ok:
        raise DataError(f"{chosen.name}: {'; '.join(found.problems)}", hint=following)


def _remedy(found: Verification) -> str:
    from vecmigrate.versions import SEARCHABLE

    version = found.version
    if not version.number:
        return "the application maintains v0: see the rows named above"
    if version.state not in SEARCHABLE:
        return f"vecmigrate shadow build --model {version.model.name} goes on with {version.label}"
    if not version.holder:
        return f"the application maintains {version.shares}, whose vectors {version.label} shares: see the rows named above"
    return f"vecmigrate shadow sync v{version.holder}" if found.only_behind else f"vecmigrate shadow drop {version.label}, and build anew"


def verification_lines(found: Verification) -> list[str]:
    """The verification in words, one check a line."""
    d, h = found.differences, found.health
    lines = [
        f"{found.version.name}: {d.present} rows of {d.expected} expected; missing {d.n_missing}, stale {d.n_stale}, extra {d.n_extra}",
        f"vectors: {h.bad_vectors} unusable; index: {h.detail or _index_in_a_word(h)}",
    ]
    if found.sampled:
        alike = found.sampled - len(found.not_by_this_model)
        lines.append(f"re-embedded: {alike} of {found.sampled} equal, lowest cosine {found.lowest_cosine}")
    return lines if found.ok else [*lines, "NOT verified"]


def _index_in_a_word(health: Health) -> str:
    if health.index_valid is None:
        return "none"
    return "valid" + (", not used" if health.index_used is False else "") if health.index_valid else "not valid"
