"""Who is behind a search, and which sessions are machines: too many searches in an hour, or the same one over and over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from vecmigrate.querylog.wording import normalised
from vecmigrate.records import QueryEvent

HOUR = timedelta(hours=1)


def voter_of(event: QueryEvent) -> str:
    """The user, else the session, else nobody: one voter has one vote per query and chunk. Two tenants never share one."""
    return _named(event, "user", event.user) or _named(event, "session", event.session)


def visit_of(event: QueryEvent) -> str:
    """The session, else the user, else nobody: what a machine is recognised by."""
    return _named(event, "session", event.session) or _named(event, "user", event.user)


def _named(event: QueryEvent, what: str, id: str | None) -> str:
    of = f"tenant {event.tenant!r} " if event.tenant else ""
    return f"{of}{what} {id}" if id else ""


def robots(events: Sequence[QueryEvent], *, searches_per_hour: int, repeats: int) -> frozenset[str]:
    """The visits with more than `searches_per_hour` searches in any hour, or more than `repeats` of one wording in all."""
    times: dict[str, list[datetime]] = {}
    wordings: dict[str, Counter[str]] = {}
    for event in events:
        visit = visit_of(event)
        if not visit:
            continue
        wordings.setdefault(visit, Counter())[normalised(event.text)] += 1
        if event.at is not None:
            times.setdefault(visit, []).append(event.at)
    hasty = {visit for visit, at in times.items() if _hasty(sorted(at), searches_per_hour)}
    dull = {visit for visit, counts in wordings.items() if max(counts.values()) > repeats}
    return frozenset(hasty | dull)


def _hasty(times: list[datetime], limit: int) -> bool:
    return any(later - earlier < HOUR for earlier, later in zip(times, times[limit:], strict=False))
