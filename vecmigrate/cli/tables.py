"""Tables that more than one verb prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from vecmigrate.store import Differences
    from vecmigrate.versions import IndexVersion, Pointer


def plain_table(*headers: str, right: Sequence[str] = ()) -> Table:
    """A table without colours or frames, readable in a log; `right` names the right-aligned columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold")
    return table


def version_table(versions: Sequence[IndexVersion], pointer: Pointer, lag: Mapping[int, Differences]) -> Table:
    """One line for each version; the one that serves has an arrow."""
    headers = ["", "version", "state", "model", "fingerprint", "dim", "rows"] + (["missing", "stale", "extra"] if lag else [])
    table = plain_table(*headers, right=("dim", "rows", "missing", "stale", "extra"))
    for v in versions:
        cells = [
            "→" if v.number == pointer.active else "",
            v.label,
            v.state.value,
            v.model.name,
            v.model.fingerprint[:12],
            str(v.model.dimension),
            "" if v.rows is None else str(v.rows),
        ]
        found = lag.get(v.number)
        if lag:
            cells += [str(n) for n in (found.n_missing, found.n_stale, found.n_extra)] if found else ["", "", ""]
        table.add_row(*cells)
    return table


def one_line(text: str, width: int) -> str:
    """Data for a cell: control characters and line breaks as spaces, cut at `width` characters."""
    clean = "".join(c if c.isprintable() else " " for c in text[: width * 2])
    folded = " ".join(clean.split())
    return folded if len(folded) <= width else folded[: width - 1] + "…"
