"""What was shown where and clicked, over the whole log: the counts from which position bias is estimated, and which searches are reloads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from vecmigrate.querylog.bots import voter_of
from vecmigrate.querylog.propensity import RANKS, Propensities, estimate
from vecmigrate.querylog.rules import REPEAT_WINDOW, JudgmentRules
from vecmigrate.querylog.wording import normalised
from vecmigrate.records import Feedback, FeedbackKind, QueryEvent

Key = tuple[str, str]
"""A distinct query: tenant (empty where there is none) and normalised wording."""


def key_of(event: QueryEvent) -> Key:
    """The distinct query that the search asks."""
    return (event.tenant or "", normalised(event.text))


def ranked(act: Feedback, event: QueryEvent) -> float | None:
    """The rank of what was acted on: its place among what was shown, else as logged (some count from 0); None where neither says."""
    return float(event.shown.index(act.ref) + 1) if act.ref in event.shown else act.position


def propensities_of(events: Sequence[QueryEvent], chunk_of: Mapping[str, str], rules: JudgmentRules) -> Propensities:
    """By `rules.position_bias`: estimated from these events where they allow it, else the default curve, or none."""
    if rules.position_bias == "off":
        return Propensities("off", rules.eta)
    if rules.position_bias == "default":
        return Propensities("default", rules.eta, why='position_bias = "default"')
    listed = [event for event in events if len(event.shown) > 1]
    if not listed:
        return Propensities("default", rules.eta, why="no search says what it showed")
    abandoned = sum(not _clicked(event, rules) for event in listed) / len(listed)
    return estimate(_impressions(listed, chunk_of, rules), abandoned=abandoned, eta=rules.eta)


def _impressions(
    events: Sequence[QueryEvent], chunk_of: Mapping[str, str], rules: JudgmentRules
) -> dict[tuple[str, str], dict[int, tuple[int, int]]]:
    """Only the first place of a chunk in a list counts. Memory grows with the distinct query-chunk pairs that were shown."""
    counts: dict[tuple[str, str], dict[int, tuple[int, int]]] = defaultdict(dict)
    for event in events:
        clicked = _clicked(event, rules)
        query = "\x00".join(key_of(event))
        for rank, ref in enumerate(dict.fromkeys(event.shown[:RANKS]), 1):
            if ref in chunk_of:
                shown, clicks = counts[query, chunk_of[ref]].get(rank, (0, 0))
                counts[query, chunk_of[ref]][rank] = (shown + 1, clicks + (ref in clicked))
    return counts


def _clicked(event: QueryEvent, rules: JudgmentRules) -> set[str]:
    return {act.ref for act in event.feedback if act.kind is FeedbackKind.CLICK and (act.dwell is None or act.dwell >= rules.min_dwell)}


def repeated(events: Sequence[QueryEvent]) -> frozenset[int]:
    """The places of searches that repeat the same person's words within `REPEAT_WINDOW` of the last of them. Needs a person and a time."""
    times: dict[tuple[Key, str], list[tuple[float, int]]] = defaultdict(list)
    for place, event in enumerate(events):
        voter = voter_of(event)
        if voter and event.at is not None:
            times[key_of(event), voter].append((event.at.timestamp(), place))
    found = set()
    for asked in times.values():
        asked.sort()
        found |= {place for (before, _), (at, place) in pairwise(asked) if at - before <= REPEAT_WINDOW.total_seconds()}
    return frozenset(found)
