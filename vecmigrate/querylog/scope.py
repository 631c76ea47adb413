"""Which searches of the log may be used at all: those of the tenant that is asked for, and those that are not too old to keep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from vecmigrate.config import LogSection
from vecmigrate.records import QueryEvent


def within_scope(
    events: Sequence[QueryEvent], log: LogSection, *, now: datetime | None = None
) -> tuple[tuple[QueryEvent, ...], dict[str, int]]:
    """The events that `only_tenant` and `max_age_days` allow, and how many were left out by reason.

    Age is counted from the newest search of the log, or from `now` where `max_age_from` says so. A search without a time is left out
    where an age is set, for nothing shows that it is young enough.
    """
    kept = [event for event in events if log.only_tenant is None or event.tenant == log.only_tenant]
    left_out = {f"not of the tenant {log.only_tenant!r}": len(events) - len(kept)}
    if log.max_age_days is not None:
        times = [event.at for event in kept if event.at is not None]
        end = (now or datetime.now(UTC)) if log.max_age_from == "now" else max(times, default=None)
        oldest = end - timedelta(days=log.max_age_days) if end else None
        timed = [event for event in kept if event.at is not None]
        young = [event for event in timed if oldest is not None and event.at is not None and event.at >= oldest]
        left_out["without a time, so older than max_age_days for all one knows"] = len(kept) - len(timed)
        left_out[f"older than {log.max_age_days:g} days"] = len(timed) - len(young)
        kept = young
    return tuple(kept), {reason: count for reason, count in left_out.items() if count}
