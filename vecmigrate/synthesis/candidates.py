"""What goes from the generators to the filters: candidates, each with the chunks it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vecmigrate.synthesis.drawing import Drawn


@dataclass(frozen=True, slots=True)
class Candidate:
    """A query that may be kept: its text, the chunks that answer it, and its kind ("title", "endpoint" …)."""

    text: str
    chunk_ids: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Generated:
    """What a generator made, in the order of the drawn chunks, and `lines` on how, for the report.

    `unused` counts by reason the chunks of which nothing could be made.
    """

    candidates: tuple[Candidate, ...]
    lines: tuple[str, ...] = ()
    unused: Mapping[str, int] = field(default_factory=dict)


Generator = Callable[[Drawn], Generated]
