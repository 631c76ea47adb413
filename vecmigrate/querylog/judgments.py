"""From resolved events to judgments, by rules that are written down (docs/query-logs.md) and with every drop counted.

    events ─► bots out ─► by tenant and wording ─► per chunk: ratings decide, else clicks and citations ─► Query + Judgment

What was shown and not clicked is no judgment: it may not have been seen, or the answer was found above it. What stood above a click
is told apart (`JudgedLog.passed_over`), as a candidate for a negative and no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vecmigrate.querylog.bots import robots, visit_of, voter_of
from vecmigrate.querylog.impressions import Key, key_of, propensities_of, ranked, repeated
from vecmigrate.querylog.propensity import Propensities
from vecmigrate.querylog.redaction import PLACEHOLDER
from vecmigrate.querylog.resolution import ResolvedLog
from vecmigrate.querylog.rules import REPEAT_WINDOW, JudgmentRules
from vecmigrate.querylog.verdicts import Verdicts, decide
from vecmigrate.querylog.wording import query_id_of, words
from vecmigrate.records import Feedback, FeedbackKind, Judgment, Query, QueryEvent

ROBOT = "a robot's session"


@dataclass(frozen=True, slots=True)
class JudgmentReport:
    """What became of the events. `dropped_events` and `dropped_queries` count by reason; so does `set_aside` for query-chunk pairs.

    `acted` counts the judgments that rest on clicks, citations or answers alone and `one_voter` those of them with one person behind
    them; `reloads` the searches that repeat the same person's of a moment before; `passed_over` the pairs of `JudgedLog.passed_over`;
    `position_bias` says how clicks were weighted by rank.
    """

    events: int
    queries: int
    judgments: int
    positives: int
    repeated: int = 0
    dropped_events: Mapping[str, int] = field(default_factory=dict)
    dropped_queries: Mapping[str, int] = field(default_factory=dict)
    set_aside: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    acted: int = 0
    one_voter: int = 0
    reloads: int = 0
    passed_over: int = 0
    position_bias: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For printing."""
        negatives = self.judgments - self.positives
        out = [
            f"judged {self.events:,} searches: {self.queries:,} distinct queries ({self.repeated:,} asked more than once)",
            f"  {self.judgments:,} judgments: {self.positives:,} relevant, {negatives:,} rated not relevant",
        ]
        if self.acted:
            out.append(f"  {self.one_voter:,} of the {self.acted:,} judgments without a rating rest on one person ([log] min_support)")
        out += self.position_bias
        if self.passed_over:
            out.append(f"  {self.passed_over:,} query-chunk pairs passed over: shown above a click, never chosen; candidates for negatives")
        if self.reloads:
            out.append(f"  {self.reloads:,} searches repeated the same person's within {REPEAT_WINDOW.seconds // 60} minutes: one search")
        for counts, what in (
            (self.dropped_events, "searches left out"),
            (self.dropped_queries, "queries left out"),
            (self.set_aside, "query-chunk pairs"),
        ):
            out += [f"  {count:,} {what}: {reason}" for reason, count in counts.items()]
        return out + [f"  warning: {warning}" for warning in self.warnings]


@dataclass(frozen=True, slots=True)
class JudgedLog:
    """Distinct queries, each with at least one relevant chunk, and their judgments; both sorted by id.

    `passed_over` maps a query's id to the chunks that stood above the lowest click of some search and that nobody ever clicked, cited
    or rated for that query. They are candidates for negatives: whether they are less relevant is for others to say.
    """

    queries: tuple[Query, ...]
    judgments: tuple[Judgment, ...]
    report: JudgmentReport
    passed_over: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Asked:
    """One distinct query while its events come in. `touched` are the chunks that anybody did anything with."""

    text: str
    first: tuple[datetime | None, str]
    at: datetime | None = None
    times: int = 0
    verdicts: dict[str, Verdicts] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Counts:
    events: Counter[str] = field(default_factory=Counter)
    queries: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    reloads: int = 0
    acted: int = 0
    one_voter: int = 0
    ranked: int = 0
    unranked: int = 0


@dataclass(frozen=True, slots=True)
class _Judging:
    """What one run goes by."""

    log: ResolvedLog
    rules: JudgmentRules
    propensities: Propensities
    machines: frozenset[str]
    counts: _Counts = field(default_factory=_Counts)


def judge(resolved: ResolvedLog, rules: JudgmentRules | None = None) -> JudgedLog:
    """Aggregate the events into judgments, by `rules` or those of `[log]`. Never raises: a log without usable feedback gives an empty
    one, and the report says why.

    A query's time is the *latest* at which it was asked with feedback, so that a split by time puts none of a later
    period's feedback into training.
    """
    rules = rules or resolved.rules
    machines = robots(resolved.events, searches_per_hour=rules.searches_per_hour, repeats=rules.repeats)
    humans = [event for event in resolved.events if visit_of(event) not in machines]
    run = _Judging(resolved, rules, propensities_of(humans, resolved.chunk_of, rules), machines)
    asked = _gather(run)
    queries: list[Query] = []
    judgments: list[Judgment] = []
    passed: dict[str, frozenset[str]] = {}
    for key, entry in sorted(asked.items()):
        query = Query(_query_id(key), entry.text, at=entry.at, slices=_slices(key, entry.times))
        found = _judgments(query.id, entry, run)
        if any(judgment.grade > 0 for judgment in found):
            queries.append(query)
            judgments += found
            if over := entry.passed - entry.touched:
                passed[query.id] = frozenset(over)
        else:
            run.counts.queries[_why_none(entry, rules)] += 1
    return _judged(run, asked, (queries, judgments), passed)


def _why_none(entry: _Asked, rules: JudgmentRules) -> str:
    if any(verdicts.ratings for verdicts in entry.verdicts.values()):
        return "only feedback that says not relevant, or that contradicts itself"
    return f"fewer than {rules.min_support} people behind each chunk"


def _query_id(key: Key) -> str:
    tenant, wording = key
    return query_id_of(f"{wording}\x00{tenant}" if tenant else wording)


def _judged(
    run: _Judging, asked: Mapping[Key, _Asked], kept: tuple[list[Query], list[Judgment]], passed: Mapping[str, frozenset[str]]
) -> JudgedLog:
    queries = tuple(sorted(kept[0], key=lambda q: q.id))
    judgments = tuple(sorted(kept[1], key=lambda j: (j.query_id, j.chunk_id)))
    ids = {query.id for query in queries}
    counts, events = run.counts, len(run.log.events)
    report = JudgmentReport(
        events=events,
        queries=len(queries),
        judgments=len(judgments),
        positives=sum(judgment.grade > 0 for judgment in judgments),
        repeated=sum(entry.times > 1 for key, entry in asked.items() if _query_id(key) in ids),
        dropped_events=dict(+counts.events),
        dropped_queries=dict(counts.queries),
        set_aside=dict(+counts.pairs),
        warnings=(*run.log.report.warnings, *_robot_warning(counts.events[ROBOT], events), *_rating_warning(run.log)),
        acted=counts.acted,
        one_voter=counts.one_voter,
        reloads=counts.reloads,
        passed_over=sum(map(len, passed.values())),
        position_bias=tuple(_position_lines(run)),
    )
    return JudgedLog(queries, judgments, report, passed)


def _position_lines(run: _Judging) -> list[str]:
    """Nothing for a log without clicks, and no claim of a correction where no click's rank is known."""
    ranked, unranked = run.counts.ranked, run.counts.unranked
    if not ranked + unranked:
        return []
    if not ranked:
        return ["  position bias: not corrected for, since the log does not say at which rank a click was"]
    without = [f"  {unranked:,} clicks without a rank count as at rank 1"] if unranked else []
    return [*run.propensities.lines(), *without]


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


def _gather(run: _Judging) -> dict[Key, _Asked]:
    asked: dict[Key, _Asked] = {}
    reloads = repeated(run.log.events)
    for place, event in enumerate(run.log.events):
        key = key_of(event)
        acts = _resolved_acts(event, run)
        reason = _unusable(key[1], event, acts, run.rules) or (ROBOT if visit_of(event) in run.machines else "")
        lasting = [act for act in acts if not _brief(act, run.rules)]
        run.counts.pairs[f"clicks shorter than {run.rules.min_dwell:g} seconds, not counted"] += 0 if reason else len(acts) - len(lasting)
        if not reason and not lasting:
            reason = f"only clicks shorter than {run.rules.min_dwell:g} seconds"
        if reason:
            run.counts.events[reason] += 1
            continue
        entry = asked.setdefault(key, _Asked(event.text, (event.at, event.text)))
        entry.times += place not in reloads
        run.counts.reloads += place in reloads
        entry.touched |= {act.ref for act in acts}
        _add(entry, event, lasting, voter_of(event) or f"event {place}", run)
    for entry in asked.values():
        entry.times = max(entry.times, 1)
    return asked


def _brief(act: Feedback, rules: JudgmentRules) -> bool:
    return act.kind is FeedbackKind.CLICK and act.dwell is not None and act.dwell < rules.min_dwell


def _unusable(wording: str, event: QueryEvent, acts: list[Feedback], rules: JudgmentRules) -> str:
    if not words(wording):
        return "no text"
    if not words(PLACEHOLDER.sub(" ", event.text)):
        return "no text but personal data"
    if len(wording) < rules.min_length and wording.isascii():
        return f"text shorter than {rules.min_length} characters"
    if len(wording) > rules.max_length:
        return f"text longer than {rules.max_length:,} characters"
    if not event.feedback:
        return "no feedback: nothing clicked, cited or rated"
    return "" if acts else "feedback only on what is not in the store"


def _resolved_acts(event: QueryEvent, run: _Judging) -> list[Feedback]:
    chunk_of = run.log.chunk_of
    acts = [
        Feedback(chunk_of[act.ref], act.kind, act.value, act.count, ranked(act, event), act.dwell)
        for act in event.feedback
        if act.ref in chunk_of
    ]
    if acts and len(acts) < len(event.feedback):
        run.counts.pairs["clicked, cited or rated, but not in the store"] += len(event.feedback) - len(acts)
    return acts


def _add(entry: _Asked, event: QueryEvent, acts: Iterable[Feedback], voter: str, run: _Judging) -> None:
    if event.at is not None and (entry.at is None or event.at > entry.at):
        entry.at = event.at
    if _earlier((event.at, event.text), entry.first):
        entry.first, entry.text = (event.at, event.text), event.text
    lowest = 0.0
    for act in acts:
        entry.verdicts.setdefault(act.ref, Verdicts()).add(voter, act, run.propensities)
        if act.kind is FeedbackKind.CLICK:
            run.counts.ranked += act.position is not None
            run.counts.unranked += act.position is None
            lowest = max(lowest, act.position or 0.0)
    chunk_of = run.log.chunk_of
    entry.shown |= {chunk_of[ref] for ref in event.shown if ref in chunk_of}
    entry.passed |= {chunk_of[ref] for rank, ref in enumerate(event.shown, 1) if rank < lowest and ref in chunk_of}


def _earlier(one: tuple[datetime | None, str], other: tuple[datetime | None, str]) -> bool:
    """Timed before untimed, then by time, then by text: the same text is shown whatever the order of the log."""
    return (one[0] is None, one[0] or datetime.max, one[1]) < (other[0] is None, other[0] or datetime.max, other[1])


def _judgments(query_id: str, entry: _Asked, run: _Judging) -> list[Judgment]:
    found = []
    counts, least = run.counts, run.rules.min_support
    for chunk_id, verdicts in entry.verdicts.items():
        if not verdicts.ratings and verdicts.support < least:
            counts.pairs[f"fewer than {least} people behind it"] += 1
            continue
        grade, weight = decide(verdicts, run.log.min_rating, counts.pairs)
        if grade is not None:
            found.append(Judgment(query_id, chunk_id, grade, weight))
            counts.acted += not verdicts.ratings
            counts.one_voter += not verdicts.ratings and verdicts.support == 1
    counts.pairs["shown, not judged"] += len(entry.shown - entry.verdicts.keys())
    return found


def length_slice(wording: str) -> str:
    """`1-2 words`, `3-5 words` or `6+ words`."""
    n = len(words(wording))
    return "1-2 words" if n <= 2 else "3-5 words" if n <= 5 else "6+ words"


def _slices(key: Key, times: int) -> tuple[str, ...]:
    tenant, wording = key
    own = (f"tenant {tenant}",) if tenant else ()
    return (length_slice(wording), "asked once" if times == 1 else "asked again", *own)
