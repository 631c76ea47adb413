"""The verdict in plain words, the same in the terminal and in the report."""

from __future__ import annotations

from vecmigrate.evaluation.gate import GateResult, Outcome
from vecmigrate.evaluation.result import Comparison
from vecmigrate.evaluation.statistics import Paired

_LEAST_P = 0.0001
_NOTHING = 0.005


def headline(comparison: Comparison, gate: GateResult) -> str:
    """One sentence: what follows."""
    candidate, control = comparison.candidate.version, comparison.control.version
    if gate.outcome is Outcome.PASS:
        relation = "better than" if gate.reasons[0].name.endswith(" better") else "not worse than"
        return f"{candidate} may serve: it is {relation} {control}"
    if gate.outcome is Outcome.UNDERPOWERED:
        return f"undecided: {counted(comparison.main.figures.n, 'query', 'queries')} cannot tell {candidate} from {control}"
    if gate.outcome is Outcome.UNDECIDED:
        return f"undecided: no user asked what {candidate} and {control} were compared on"
    return f"{control} stays: {candidate} does not meet the gate"


def summary(comparison: Comparison) -> str:
    """Two or three sentences: what was compared, on what, with what result."""
    figures, main = comparison.main.figures, comparison.main.measure
    where = f"{comparison.rows:,} chunks" if comparison.rows else "the collection"
    asked = f"Both answered {counted(figures.n, 'query', 'queries')} from {where} through the store's own search. "
    if figures.difference == 0 and figures.wins == 0:
        return asked + f"{main} is {figures.control:.3f} on both sides, the same for every query."
    moved = (
        f"{main} goes from {figures.control:.3f} to {figures.candidate:.3f} ({figures.difference:+.3f}, {certainty(comparison, figures)}). "
    )
    return asked + moved + f"{figures.wins:,} queries get better, {figures.ties:,} stay the same, {figures.losses:,} get worse."


def certainty(comparison: Comparison, figures: Paired) -> str:
    """`95% interval +0.012 to +0.050`."""
    if figures.interval is None:
        return "no interval from so few"
    return f"{level(comparison)} interval {figures.interval.low:+.3f} to {figures.interval.high:+.3f}"


def attribution(comparison: Comparison) -> str:
    """Is the difference the model's or the index's? Empty where the store can't search exactly."""
    check = comparison.exact
    if check is None:
        return ""
    served, exact = check.served.difference, check.exact.difference
    sample = f"On a sample of {counted(check.n, 'query', 'queries')}"
    beginning = f"{sample} {check.measure} differs by {served:+.3f} as served and by {exact:+.3f} by exact search: "
    if abs(served - exact) < _NOTHING:
        return beginning + "the approximate indexes make no difference, the models do."
    return beginning + f"the approximate indexes account for {served - exact:+.3f} of it, the models for the rest."


def left_out(comparison: Comparison) -> str:
    """What became of the queries that were not compared. Empty when all were."""
    counts = comparison.queries
    parts = [
        (counts.blank, "blank"),
        (counts.without_relevant, "without a relevant chunk"),
        (counts.lost_relevant, "whose relevant chunks have gone from the store"),
    ]
    named = ", ".join(f"{n:,} {what}" for n, what in parts if n)
    return f"Of {counts.given:,} queries given, {counts.given - counts.compared:,} were left out: {named}." if named else ""


def level(comparison: Comparison) -> str:
    """`95%`."""
    return f"{comparison.confidence * 100:.4g}%"


def written_p(p: float) -> str:
    """Four digits, or that it is smaller."""
    return f"<{_LEAST_P:.4f}" if p < _LEAST_P else f"{p:.4f}"


def counted(n: int, one: str, many: str) -> str:
    """`1 query`, `1,200 queries`."""
    return f"{n:,} {one if n == 1 else many}"
