"""Which queries train, which stop the training, and which judge it: whole groups only, by time where the log has times.

by time    ── train ──┬─ dev ─┬─ test ─►   a group stands at the latest time that any of its queries was asked,
                                           so all of train's feedback is older than every test group's latest
by group   a seeded hash of the group
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from vecmigrate.config import DatasetSection
from vecmigrate.errors import DataError, UsageError
from vecmigrate.records import Query

FEWEST_QUERIES = 10
POWERED = 50
"""Test queries below which a comparison can hardly be significant."""
TIMED = 0.95
"""The share of queries with times from which on the split is by time; the rest is left out."""


class Split(StrEnum):
    """What a query is for."""

    TRAIN = "train"
    """Its pairs are trained on."""
    DEV = "dev"
    """It tells when to stop."""
    TEST = "test"
    """It judges the result; nothing before the comparison sees it."""


@dataclass(frozen=True, slots=True)
class SplitReport:
    """How many queries and groups fell where. `first_test` is the time of the earliest test group, in a split by time."""

    by: str
    queries: Mapping[str, int]
    groups: Mapping[str, int]
    untimed: int = 0
    first_test: datetime | None = None
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """For printing."""
        sizes = ", ".join(f"{name} {self.queries[name]:,} queries in {self.groups[name]:,} groups" for name in Split)
        out = [f"split by {self.by}: {sizes}"]
        if self.first_test is not None:
            out.append(f"  test groups were last asked from {self.first_test:%Y-%m-%d %H:%M} UTC on, all others before or at that time")
        if self.untimed:
            out.append(f"  {self.untimed:,} queries without a time were left out")
        return out + [f"  warning: {warning}" for warning in self.warnings]


@dataclass(slots=True)
class _Group:
    name: str
    queries: list[Query] = field(default_factory=list)

    @property
    def latest(self) -> datetime | None:
        return max((query.at for query in self.queries if query.at is not None), default=None)


def refuse_too_few(queries: int, where: str = "in the judged log") -> None:
    """Raise `DataError` below `FEWEST_QUERIES` usable queries: nothing that they gave could be trusted."""
    if queries < FEWEST_QUERIES:
        raise DataError(
            f"{queries} usable {'query' if queries == 1 else 'queries'} {where}; at least {FEWEST_QUERIES} are needed, "
            f"and {POWERED} or more in the test split alone for a comparison that can tell anything",
            hint="`vecmigrate logs stats` shows what was left out and why; read more of the log, lower min_rating under [log], or make "
            "queries from the chunks: vecmigrate dataset build --synthetic local --without-log",
        )


def split_queries(queries: Sequence[Query], settings: DatasetSection) -> tuple[dict[str, Split], SplitReport]:
    """The split of each query by id; queries of one group stay together. A query that is left out is absent.

    Raises `UsageError` for fractions that leave nothing to train on, `DataError` when there are too few queries or groups,
    or too few times for the split by time that was asked for.
    """
    if settings.test_fraction + settings.dev_fraction >= 1:
        raise UsageError(
            f"[dataset] test_fraction {settings.test_fraction} and dev_fraction {settings.dev_fraction} leave nothing to train on",
            hint="0.2 and 0.1 are usual",
        )
    refuse_too_few(len(queries))
    groups = _groups(queries)
    timed = _by_time(groups, queries, settings)
    ordered = _latest_first(groups) if timed else _shuffled(groups, settings.seed)
    parts = _fill(ordered, settings, keep_order=timed)
    _refuse_empty(parts, len(groups), settings)
    chosen = {query.id: split for split, part in parts.items() for group in part for query in group.queries}
    return chosen, _report("time" if timed else "group", parts, len(queries) - len(chosen), timed)


def _groups(queries: Sequence[Query]) -> list[_Group]:
    found: dict[str, _Group] = {}
    for query in queries:
        name = query.group or query.id
        found.setdefault(name, _Group(name)).queries.append(query)
    return list(found.values())


def _by_time(groups: Sequence[_Group], queries: Sequence[Query], settings: DatasetSection) -> bool:
    if settings.split_by == "group":
        return False
    times = {group.latest for group in groups} - {None}
    share = sum(query.at is not None for query in queries) / len(queries)
    enough = share >= TIMED and len(times) >= len(Split)
    if settings.split_by == "time" and not enough:
        raise DataError(
            f"{share:.0%} of the queries have a time, and {len(times):,} different times in all; "
            f"a split by time needs {TIMED:.0%} and {len(Split)}",
            hint='name the time under [log.columns], or set split_by = "group" under [dataset]',
        )
    return enough


def _latest_first(groups: Sequence[_Group]) -> list[_Group]:
    timed = [(group.latest, group.name, group) for group in groups if group.latest is not None]
    return [group for _, _, group in sorted(timed, key=lambda item: item[:2], reverse=True)]


def _shuffled(groups: Sequence[_Group], seed: int) -> list[_Group]:
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed}\0{group.name}".encode()).digest())


def _fill(ordered: Sequence[_Group], settings: DatasetSection, *, keep_order: bool) -> dict[Split, list[_Group]]:
    """Test first, then dev, up to their shares of the queries. Unless order counts, a group too large for its place goes to train."""
    total = sum(len(group.queries) for group in ordered)
    room = {Split.TEST: round(settings.test_fraction * total), Split.DEV: round(settings.dev_fraction * total)}
    room = {split: max(1, size) if fraction else 0 for (split, size), fraction in zip(room.items(), _fractions(settings), strict=True)}
    parts: dict[Split, list[_Group]] = {split: [] for split in Split}
    left = list(reversed(ordered))
    for split in (Split.TEST, Split.DEV):
        passed: list[_Group] = []
        while left and room[split] > 0:
            group = left.pop()
            if keep_order or len(group.queries) <= room[split]:
                parts[split].append(group)
                room[split] -= len(group.queries)
            else:
                passed.append(group)
        left += passed
    parts[Split.TRAIN] = left
    return parts


def _fractions(settings: DatasetSection) -> tuple[float, float]:
    return settings.test_fraction, settings.dev_fraction


def _refuse_empty(parts: Mapping[Split, list[_Group]], groups: int, settings: DatasetSection) -> None:
    wanted = [Split.TRAIN]
    wanted += [split for split, fraction in zip((Split.TEST, Split.DEV), _fractions(settings), strict=True) if fraction]
    empty = [split.value for split in wanted if not parts[split]]
    if empty:
        raise DataError(
            f"the queries are {groups:,} groups of like wording, too few or too uneven to split: {' and '.join(empty)} would be empty",
            hint="read more of the log: the questions in it are nearly all the same",
        )


def _report(by: str, parts: Mapping[Split, list[_Group]], untimed: int, timed: bool) -> SplitReport:
    queries = {split.value: sum(len(group.queries) for group in part) for split, part in parts.items()}
    groups = {split.value: len(part) for split, part in parts.items()}
    latest = [group.latest for group in parts[Split.TEST] if group.latest is not None]
    warnings = []
    if queries[Split.TEST] < POWERED:
        warnings.append(f"underpowered: {queries[Split.TEST]} test queries can show only very large differences; {POWERED} are the least")
    return SplitReport(by, queries, groups, untimed, min(latest, default=None) if timed else None, tuple(warnings))
