"""What was made of how many chunks, what was left out, and that nobody asked it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vecmigrate.querylog.judgments import JudgmentReport


@dataclass(frozen=True, slots=True)
class SynthesisReport(JudgmentReport):
    """What became of the candidates, of which `events` counts all. `set_aside` counts chunks by reason, `by_kind` the queries kept;
    `notes` are the generator's.
    """

    chunks: int = 0
    of: int = 0
    by_kind: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For printing."""
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.by_kind.items()) or "none"
        return [
            f"made {self.events:,} synthetic queries from {self.chunks:,} of {self.of:,} chunks: {self.queries:,} kept ({kinds}); "
            "nobody asked them",
            *(f"  {note}" for note in self.notes),
            *(f"  {count:,} chunks passed over: {reason}" for reason, count in self.set_aside.items()),
            *(f"  {count:,} synthetic queries left out: {reason}" for reason, count in self.dropped_queries.items()),
            *(f"  warning: {warning}" for warning in self.warnings),
        ]
