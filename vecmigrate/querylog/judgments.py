"""From resolved events to judgments, by rules that are written down (docs/query-logs.md) and with every drop counted.

    events ─► bots out ─► by normalised wording ─► per chunk: ratings decide, else clicks and citations ─► Query + Judgment

What was shown and not clicked is no judgment: it may not have been seen, or the answer was found above it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vecmigrate.querylog.bots import robots, visit_of, voter_of
from vecmigrate.querylog.resolution import ResolvedLog
from vecmigrate.querylog.wording import normalised, query_id_of, words
from vecmigrate.records import Feedback, FeedbackKind, Judgment, Query, QueryEvent

HIGHEST_GRADE = 4.0
ROBOT = "a robot's session"


@dataclass(frozen=True, slots=True)
class JudgmentRules:
    """The thresholds. Lengths are characters of the normalised wording; `searches_per_hour` and `repeats` are a session's."""

    min_length: int = 2
    max_length: int = 2000
    searches_per_hour: int = 120
    repeats: int = 20


@dataclass(frozen=True, slots=True)
class JudgmentReport:
    """What became of the events. `dropped_events` and `dropped_queries` count by reason; so does `set_aside` for query-chunk pairs."""

    events: int
    queries: int
    judgments: int
    positives: int
    repeated: int = 0
    dropped_events: Mapping[str, int] = field(default_factory=dict)
    dropped_queries: Mapping[str, int] = field(default_factory=dict)
    set_aside: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For printing."""
        negatives = self.judgments - self.positives
        out = [
            f"judged {self.events:,} searches: {self.queries:,} distinct queries ({self.repeated:,} asked more than once)",
            f"  {self.judgments:,} judgments: {self.positives:,} relevant, {negatives:,} rated not relevant",
        ]
        for counts, what in (
            (self.dropped_events, "searches left out"),
            (self.dropped_queries, "queries left out"),
            (self.set_aside, "query-chunk pairs"),
        ):
            out += [f"  {count:,} {what}: {reason}" for reason, count in counts.items()]
        return out + [f"  warning: {warning}" for warning in self.warnings]


@dataclass(frozen=True, slots=True)
class JudgedLog:
    """Distinct queries, each with at least one relevant chunk, and their judgments; both sorted by id."""

    queries: tuple[Query, ...]
    judgments: tuple[Judgment, ...]
    report: JudgmentReport
    passed_over: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Verdicts:
    """What users said of one chunk for one query: voters by kind, and each voter's ratings."""

    clicks: set[str] = field(default_factory=set)
    citations: set[str] = field(default_factory=set)
    ratings: dict[str, list[float]] = field(default_factory=dict)

    def add(self, voter: str, act: Feedback) -> None:
        match act.kind:
            case FeedbackKind.CLICK:
                self.clicks.add(voter)
            case FeedbackKind.CITATION:
                self.citations.add(voter)
            case FeedbackKind.RATING:
                self.ratings.setdefault(voter, []).append(act.value)


@dataclass(slots=True)
class _Asked:
    """One distinct query while its events come in."""

    text: str
    first: tuple[datetime | None, str]
    at: datetime | None = None
    times: int = 0
    verdicts: dict[str, _Verdicts] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Counts:
    events: Counter[str] = field(default_factory=Counter)
    queries: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)


def judge(resolved: ResolvedLog, rules: JudgmentRules | None = None) -> JudgedLog:
    """Aggregate the events into judgments. Never raises: a log without usable feedback gives an empty one, and the report says why.

    A query's time is the *latest* at which it was asked with feedback, so that a split by time puts none of a later
    period's feedback into training.
    """
    rules = rules or JudgmentRules()
    counts = _Counts()
    asked = _gather(resolved, rules, counts)
    queries: list[Query] = []
    judgments: list[Judgment] = []
    for wording, entry in sorted(asked.items()):
        query = Query(query_id_of(wording), entry.text, at=entry.at, slices=_slices(wording, entry.times))
        found = _judgments(query.id, entry, resolved.min_rating, counts)
        if any(judgment.grade > 0 for judgment in found):
            queries.append(query)
            judgments += found
        else:
            counts.queries["only feedback that says not relevant, or that contradicts itself"] += 1
    return _judged(resolved, asked, (queries, judgments), counts)


def _judged(resolved: ResolvedLog, asked: Mapping[str, _Asked], kept: tuple[list[Query], list[Judgment]], counts: _Counts) -> JudgedLog:
    queries = tuple(sorted(kept[0], key=lambda q: q.id))
    judgments = tuple(sorted(kept[1], key=lambda j: (j.query_id, j.chunk_id)))
    ids = {query.id for query in queries}
    report = JudgmentReport(
        events=len(resolved.events),
        queries=len(queries),
        judgments=len(judgments),
        positives=sum(judgment.grade > 0 for judgment in judgments),
        repeated=sum(entry.times > 1 for wording, entry in asked.items() if query_id_of(wording) in ids),
        dropped_events=dict(+counts.events),
        dropped_queries=dict(counts.queries),
        set_aside=dict(+counts.pairs),
        warnings=(*resolved.report.warnings, *_robot_warning(counts.events[ROBOT], len(resolved.events)), *_rating_warning(resolved)),
    )
    return JudgedLog(queries, judgments, report)


def _robot_warning(dropped: int, events: int) -> tuple[str, ...]:
    if 2 * dropped <= events:
        return ()
    hint = "if session_id or user_id is a service's account, map it to another column"
    return (f"{dropped:,} of {events:,} searches look like robots'; {hint}",)


def _rating_warning(resolved: ResolvedLog) -> tuple[str, ...]:
    """Ratings that all count as good are stars on a scale whose lower end nobody has named, more often than they are praise alone."""
    given = [act.value for event in resolved.events for act in event.feedback if act.kind is FeedbackKind.RATING]
    if not given or min(given) < resolved.min_rating or max(given) == min(given):
        return ()
    scale = f"all {len(given):,} ratings, from {min(given):g} to {max(given):g}, count as relevant"
    return (f"{scale}; say from where on one is good: vecmigrate logs import --min-rating N",)


def _gather(resolved: ResolvedLog, rules: JudgmentRules, counts: _Counts) -> dict[str, _Asked]:
    machines = robots(resolved.events, searches_per_hour=rules.searches_per_hour, repeats=rules.repeats)
    asked: dict[str, _Asked] = {}
    for place, event in enumerate(resolved.events):
        wording = normalised(event.text)
        voter = voter_of(event)
        acts = _resolved_acts(event, resolved.chunk_of, counts)
        reason = _unusable(wording, event, acts, rules) or (ROBOT if visit_of(event) in machines else "")
        if reason:
            counts.events[reason] += 1
        else:
            _add(asked.setdefault(wording, _Asked(event.text, (event.at, event.text))), event, acts, voter or f"event {place}")
            asked[wording].shown |= {resolved.chunk_of[ref] for ref in event.shown if ref in resolved.chunk_of}
    return asked


def _unusable(wording: str, event: QueryEvent, acts: list[Feedback], rules: JudgmentRules) -> str:
    if not words(wording):
        return "no text"
    if len(wording) < rules.min_length and wording.isascii():
        return f"text shorter than {rules.min_length} characters"
    if len(wording) > rules.max_length:
        return f"text longer than {rules.max_length:,} characters"
    if not event.feedback:
        return "no feedback: nothing clicked, cited or rated"
    return "" if acts else "feedback only on what is not in the store"


def _resolved_acts(event: QueryEvent, chunk_of: Mapping[str, str], counts: _Counts) -> list[Feedback]:
    acts = [Feedback(chunk_of[act.ref], act.kind, act.value) for act in event.feedback if act.ref in chunk_of]
    if acts and len(acts) < len(event.feedback):
        counts.pairs["clicked, cited or rated, but not in the store"] += len(event.feedback) - len(acts)
    return acts


def _add(entry: _Asked, event: QueryEvent, acts: Iterable[Feedback], voter: str) -> None:
    entry.times += 1
    if event.at is not None and (entry.at is None or event.at > entry.at):
        entry.at = event.at
    if _earlier((event.at, event.text), entry.first):
        entry.first, entry.text = (event.at, event.text), event.text
    for act in acts:
        entry.verdicts.setdefault(act.ref, _Verdicts()).add(voter, act)


def _earlier(one: tuple[datetime | None, str], other: tuple[datetime | None, str]) -> bool:
    """Timed before untimed, then by time, then by text: the same text is shown whatever the order of the log."""
    return (one[0] is None, one[0] or datetime.max, one[1]) < (other[0] is None, other[0] or datetime.max, other[1])


def _judgments(query_id: str, entry: _Asked, min_rating: float, counts: _Counts) -> list[Judgment]:
    found = []
    for chunk_id, verdicts in entry.verdicts.items():
        grade, weight = _decide(verdicts, min_rating, counts)
        if grade is not None:
            found.append(Judgment(query_id, chunk_id, grade, weight))
    counts.pairs["shown, not judged"] += len(entry.shown - entry.verdicts.keys())
    return found


def _decide(verdicts: _Verdicts, min_rating: float, counts: _Counts) -> tuple[float | None, float]:
    """Grade and weight: ratings by majority of raters, else 1 for clicks and citations. Raters evenly split: no judgment."""
    votes = len(verdicts.clicks | verdicts.citations)
    if not verdicts.ratings:
        return 1.0, weight_of(votes)
    means = [sum(values) / len(values) for values in verdicts.ratings.values()]
    good = [mean for mean in means if mean >= min_rating]
    if 2 * len(good) == len(means):
        counts.pairs["raters evenly split, no judgment made"] += 1
        return None, 0.0
    if 2 * len(good) < len(means):
        if votes:
            counts.pairs["clicked or cited, but rated not relevant: the rating holds"] += 1
        return 0.0, 1 - len(good) / len(means)
    return graded(sum(good) / len(good), min_rating), len(good) / len(means)


def weight_of(votes: int) -> float:
    """The trust in so many people's clicks or citations: 0.5, 0.75, and 1 from the third on."""
    return min(1.0, 0.25 + 0.25 * votes)


def graded(mean: float, min_rating: float) -> float:
    """The grade of a good rating: 1 at `min_rating`, one more for each full point above it, at most 4."""
    return min(HIGHEST_GRADE, 1.0 + int(mean - min_rating))


def length_slice(wording: str) -> str:
    """`1-2 words`, `3-5 words` or `6+ words`."""
    n = len(words(wording))
    return "1-2 words" if n <= 2 else "3-5 words" if n <= 5 else "6+ words"


def _slices(wording: str, times: int) -> tuple[str, ...]:
    return (length_slice(wording), "asked once" if times == 1 else "asked again")
