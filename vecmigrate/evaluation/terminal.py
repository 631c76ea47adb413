"""A comparison for the terminal: readable at 80 columns and without colour. Data is shown as it is, never as markup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vecmigrate.evaluation import wording
from vecmigrate.evaluation.cleaning import cleaned
from vecmigrate.evaluation.gate import Check, GateResult, Outcome, written_interval
from vecmigrate.evaluation.result import Comparison, Example, MeasureResult, ShownChunk, Side
from vecmigrate.evaluation.statistics import Paired

_STYLES = {
    Outcome.PASS: "bold green",
    Outcome.FAIL: "bold red",
    Outcome.UNDERPOWERED: "bold yellow",
    Outcome.UNDECIDED: "bold yellow",
}
_SLICES_SHOWN = 12
_HITS_SHOWN = 3


def render_terminal(comparison: Comparison, gate: GateResult, *, examples: int = 2) -> RenderableType:
    """Verdict, figures, slices, latency, gate and warnings, and the `examples` biggest wins and losses."""
    parts = [
        _verdict(comparison, gate),
        _measures(comparison),
        _slices(comparison),
        _sides(comparison),
        _gate(gate),
        _warnings(comparison),
        *_examples("biggest wins", comparison.wins[:examples]),
        *_examples("biggest losses", comparison.losses[:examples]),
    ]
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts if part is not None))


def _verdict(comparison: Comparison, gate: GateResult) -> RenderableType:
    lines = Text(f"{gate.outcome.upper()}  ", style=_STYLES[gate.outcome])
    lines.append(cleaned(wording.headline(comparison, gate)), style="bold")
    for extra in (wording.summary(comparison), wording.attribution(comparison), wording.left_out(comparison)):
        if extra:
            lines.append("\n" + cleaned(extra), style="not bold default")
    return lines


def _table(*columns: str, title: str = "") -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title=title or None, title_justify="left")
    for i, name in enumerate(columns):
        table.add_column(Text(name), justify="left" if i == 0 else "right", no_wrap=i > 0, overflow="fold")
    return table


def _measures(comparison: Comparison) -> RenderableType:
    table = _table("measure", "control", "candidate", f"difference [{wording.level(comparison)}]", "p Holm", "win–tie–loss")
    for result in comparison.measures:
        table.add_row(*_measure(cleaned(result.measure), result))
        if result is comparison.main:
            table.add_row(*_measure("  judged only", comparison.condensed), style="dim")
    main = comparison.main
    many = f"p Holm is corrected for all {len(comparison.measures)} measures; of {cleaned(main.measure)} alone it is"
    return Group(table, Text(f"{many} {wording.written_p(main.figures.p_value)}", style="dim"))


def _measure(name: str, result: MeasureResult) -> Iterator[Text]:
    figures = result.figures
    yield Text(name)
    yield Text(f"{figures.control:.3f}")
    yield Text(f"{figures.candidate:.3f}")
    yield _difference(figures)
    yield Text(wording.written_p(result.p_adjusted))
    yield Text(f"{figures.wins}–{figures.ties}–{figures.losses}")


def _difference(figures: Paired) -> Text:
    return Text(f"{figures.difference:+.3f} {written_interval(figures.interval)}", style=_direction(figures))


def _direction(figures: Paired) -> str:
    interval = figures.interval
    if interval is None or interval.low <= 0 <= interval.high:
        return ""
    return "green" if interval.low > 0 else "red"


def _slices(comparison: Comparison) -> Table | None:
    if not comparison.slices:
        return None
    table = _table(f"{comparison.main.measure} by slice", "n", "control", "candidate", f"difference [{wording.level(comparison)}]")
    for part in comparison.slices[:_SLICES_SHOWN]:
        f = part.figures
        table.add_row(Text(cleaned(part.name, 28)), Text(f"{f.n}"), Text(f"{f.control:.3f}"), Text(f"{f.candidate:.3f}"), _difference(f))
    more = len(comparison.slices) - _SLICES_SHOWN
    if more > 0:
        table.add_row(Text(f"and {more} more in the report", style="dim"))
    return table


def _sides(comparison: Comparison) -> Table:
    control, candidate = comparison.control, comparison.candidate
    table = _table("", f"{control.version}", f"{candidate.version}")
    for name, a, b in zip(_side_names(comparison), _side(control), _side(candidate), strict=True):
        table.add_row(Text(name), Text(a), Text(b))
    shared = Text(f"{comparison.overlap:.3f}")
    table.add_row(Text(f"overlap@{comparison.k}"), Text(""), shared)
    return table


def _side_names(comparison: Comparison) -> Sequence[str]:
    return (
        "model",
        "search p50 / p95, ms",
        "encoding p50 / p95, ms",
        f"index recall@{comparison.k}",
        f"Judged@{comparison.k}",
        f"hits returned of {comparison.depth}",
    )


def _side(side: Side) -> Sequence[str]:
    return (
        f"{cleaned(side.model, 24)} {side.fingerprint[:8]}",
        f"{side.search.p50:.2f} / {side.search.p95:.2f}",
        f"{side.encode.p50:.2f} / {side.encode.p95:.2f}",
        "not measured" if side.ann_recall is None else f"{side.ann_recall:.3f}",
        f"{side.judged:.3f}",
        f"{side.returned:.1f}",
    )


def _gate(gate: GateResult) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("gate", "check", "expected", "observed"):
        table.add_column(Text(name), overflow="fold")
    quiet = [check for check in gate.reasons if check.kind == "slice" and check.ok and not check.note]
    for check in gate.reasons:
        if check in quiet:
            continue
        table.add_row(_mark(check), Text(cleaned(check.name)), Text(check.expected), _observed(check))
    if quiet:
        table.add_row(_mark(quiet[0]), Text(wording.counted(len(quiet), "slice", "slices")), Text(quiet[0].expected), Text("none"))
    return table


def _mark(check: Check) -> Text:
    return Text("ok", style="green") if check.ok else Text("FAIL", style="bold red")


def _observed(check: Check) -> Text:
    text = Text(cleaned(check.observed))
    return text.append(f"\n{check.note}", style="dim") if check.note else text


def _warnings(comparison: Comparison) -> Text | None:
    if not comparison.warnings:
        return None
    return Text("\n").join(Text.assemble(("warning  ", "yellow"), cleaned(warning)) for warning in comparison.warnings)


def _examples(title: str, examples: Sequence[Example]) -> Iterator[RenderableType]:
    for i, example in enumerate(examples):
        lines = Text(f"{title}\n" if i == 0 else "", style="dim")
        lines.append(f"{example.candidate_value - example.control_value:+.3f}  {_asked(example)}", style="bold not dim")
        for name, hits in (("control", example.control), ("candidate", example.candidate)):
            for rank, hit in enumerate(hits[:_HITS_SHOWN], 1):
                lines.append(f"\n  {name if rank == 1 else '':<9}  {rank} {_judged(hit)} {_line(hit)}", style="not dim")
        lines.no_wrap, lines.overflow = True, "ellipsis"
        yield lines


def _asked(example: Example) -> str:
    return cleaned(example.text if example.text is not None else example.query_id)


def _judged(hit: ShownChunk) -> str:
    if hit.grade is None:
        return " "
    return "✓" if hit.grade > 0 else "×"


def _line(hit: ShownChunk) -> str:
    return cleaned(hit.chunk_id if hit.text is None else hit.text, 200)
