"""A comparison as one HTML file: no script, nothing loaded from anywhere, readable on paper, on a phone and by a screen reader.

Every text of unknown origin passes `cleaned` and jinja's autoescape; the page's policy forbids scripts and remote content besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from vecmigrate.evaluation import charts, wording
from vecmigrate.evaluation.cleaning import cleaned
from vecmigrate.evaluation.gate import GateResult, written_interval
from vecmigrate.evaluation.measures import parse_measure
from vecmigrate.evaluation.result import Comparison, Example, ShownChunk

if TYPE_CHECKING:
    from jinja2 import Template

_WORD = re.compile(r"\w+")
_SHORTEST_WORD = 3
_EVERYWHERE = frozenset(
    [
        "and",
        "are",
        "but",
        "can",
        "did",
        "does",
        "for",
        "from",
        "has",
        "have",
        "how",
        "its",
        "not",
        "that",
        "the",
        "this",
        "was",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "with",
        "you",
    ]
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text; `hit` where it is a word of the query."""

    text: str
    hit: bool


def render_html(comparison: Comparison, gate: GateResult) -> str:
    """The report, a complete document."""
    main_axis = charts.axis_for(result.figures for result in (*comparison.measures, comparison.condensed))
    return _template().render(
        c=comparison,
        gate=gate,
        headline=wording.headline(comparison, gate),
        summary=wording.summary(comparison),
        attribution=wording.attribution(comparison),
        left_out=wording.left_out(comparison),
        level=wording.level(comparison),
        measure_axis=main_axis,
        slice_axis=charts.axis_for(part.figures for part in comparison.slices),
        waterfall=charts.waterfall(comparison.per_query),
        latencies=charts.latencies(comparison),
        width=charts.WIDTH,
        explained=tuple((result.measure, parse_measure(result.measure).explanation) for result in comparison.measures),
        changes=(("Biggest wins", comparison.wins), ("Biggest losses", comparison.losses)),
    )


def pieces(text: str, query: str | None) -> tuple[Piece, ...]:
    """The text, cut so that the words it shares with the query stand alone, whatever their case; not those that are everywhere."""
    wanted = {word.casefold() for word in _WORD.findall(query or "") if len(word) >= _SHORTEST_WORD} - _EVERYWHERE
    return tuple(_pieces(cleaned(text), wanted))


def _pieces(text: str, wanted: set[str]) -> Iterator[Piece]:
    start = 0
    for match in _WORD.finditer(text):
        if match[0].casefold() in wanted:
            if match.start() > start:
                yield Piece(text[start : match.start()], False)
            yield Piece(match[0], True)
            start = match.end()
    if start < len(text):
        yield Piece(text[start:], False)


def judged_as(chunk: ShownChunk) -> str:
    """`relevant`, `not relevant` or `not judged`."""
    if chunk.grade is None:
        return "not judged"
    return "relevant" if chunk.grade > 0 else "not relevant"


def asked(example: Example) -> str:
    """The query's text, or its id where texts are not to be shown."""
    return cleaned(example.text) if example.text is not None else f"query {cleaned(example.query_id)}"


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        clean=cleaned,
        pieces=pieces,
        judged_as=judged_as,
        asked=asked,
        p_value=wording.written_p,
        interval=written_interval,
        tone=charts.tone,
    )
    environment.globals["whisker"] = charts.whisker
    return environment.from_string((files("vecmigrate.evaluation") / "templates" / "report.html.j2").read_text(encoding="utf-8"))
