"""Tables that more than one verb prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from vecmigrate.store import Differences
    from vecmigrate.versions import IndexVersion, Pointer


class PlainTable(Table):
    """A table in which only the flexible columns give way when the terminal is too narrow."""

    cut: frozenset[str] = frozenset()

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """As rich's; a cell of a cut column stays on one line and ends in an ellipsis where there is no room."""
        shown = [
            Text(str(cell), no_wrap=True, overflow="ellipsis") if column.header in self.cut else cell
            for column, cell in zip(self.columns, cells, strict=True)
        ]
        super().add_row(*shown, **options)


def plain_table(*headers: str, right: Sequence[str] = (), wrap: Sequence[str] = (), cut: Sequence[str] = ()) -> PlainTable:
    """A table without colours or frames, readable in a log. Named are the columns that are right-aligned, that may wrap, or that are
    cut where the terminal is too narrow; the others keep their width.
    """
    table = PlainTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    table.cut = frozenset(cut)
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold", no_wrap=header not in {*wrap, *cut})
    return table


def version_table(versions: Sequence[IndexVersion], pointer: Pointer, lag: Mapping[int, Differences]) -> PlainTable:
    """One line for each version; the one that serves has an arrow."""
    headers = ["", "version", "state", "model", "rows", *(["missing", "stale", "extra"] if lag else ["fingerprint", "dim"])]
    table = plain_table(*headers, right=("dim", "rows", "missing", "stale", "extra"))
    for v in versions:
        arrow = "→" if v.number == pointer.active else ""
        counted = lag[v.number].present if v.number in lag else v.rows
        rows = "" if counted is None else str(counted)
        table.add_row(arrow, v.label, v.state.value, v.model.name, rows, *_further(v, lag))
    return table


def sharing_lines(versions: Sequence[IndexVersion]) -> list[str]:
    """One line for each version that has no vectors of its own and hasn't gone."""
    from vecmigrate.versions import GONE

    return [f"{v.name} shares the vectors of {v.shares}" for v in versions if v.shares and v.state not in GONE]


def _further(version: IndexVersion, lag: Mapping[int, Differences]) -> list[str]:
    if not lag:
        return [version.model.fingerprint[:12], str(version.model.dimension)]
    found = lag.get(version.number)
    return [str(n) for n in (found.n_missing, found.n_stale, found.n_extra)] if found else ["", "", ""]


def one_line(text: str, width: int) -> str:
    """Data for a cell: control characters and line breaks as spaces, cut at `width` characters."""
    clean = "".join(c if c.isprintable() else " " for c in text[: width * 2])
    folded = " ".join(clean.split())
    return folded if len(folded) <= width else folded[: width - 1] + "…"
