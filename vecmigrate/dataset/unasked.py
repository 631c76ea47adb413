"""What synthetic queries may do in a dataset: beside a log they train and nothing else; alone they are split, and the report says so.

The log's own split is made first and stays what it is without them, so that datasets with and without synthetic queries have one test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vecmigrate.dataset.grouping import group_queries
from vecmigrate.dataset.splitting import Split
from vecmigrate.querylog.wording import normalised
from vecmigrate.records import Judgment, Query
from vecmigrate.synthesis.marking import is_synthetic


def caution(queries: Sequence[Query], what: str = "queries") -> str:
    """What has to stand beside figures on queries that nobody asked; empty where users asked them all."""
    made = sum(map(is_synthetic, queries))
    if not made:
        return ""
    who = f"all {made:,} {what} are synthetic" if made == len(queries) else f"{made:,} of {len(queries):,} {what} are synthetic"
    return f"{who}: made from the chunks, asked by no user. Figures on them are an indication only; users' own may come out otherwise"


def join_by_chunk(queries: Sequence[Query], judgments: Sequence[Judgment]) -> tuple[tuple[Query, ...], list[str]]:
    """The queries, with the groups of synthetic ones that share a relevant chunk made one, and lines for the report.

    Two queries made from one chunk share its words: on two sides of a split the one would give the other away.
    """
    made = {query.id: query for query in queries if is_synthetic(query)}
    if not made:
        return tuple(queries), []
    parent: dict[str, str] = {query.group: query.group for query in queries}
    first: dict[str, str] = {}
    for judgment in judgments:
        if judgment.grade > 0 and judgment.query_id in made:
            group = made[judgment.query_id].group
            _join(parent, group, first.setdefault(judgment.chunk_id, group))
    joined = tuple(replace(query, group=_root(parent, query.group)) for query in queries)
    groups = len({query.group for query in joined})
    return joined, [f"joined them to {groups:,} groups by the chunks that synthetic queries were made from"]


def _root(parent: dict[str, str], name: str) -> str:
    while parent[name] != name:
        parent[name] = parent[parent[name]]
        name = parent[name]
    return name


def _join(parent: dict[str, str], one: str, other: str) -> None:
    low, high = sorted((_root(parent, one), _root(parent, other)))
    parent[high] = low


@dataclass(frozen=True, slots=True)
class Added:
    """The synthetic queries that may train, with their groups. `left_out` counts the others by reason."""

    queries: tuple[Query, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For printing."""
        out = [f"added {len(self.queries):,} synthetic queries to train; dev and test are users' queries alone"]
        return out + [f"  {count:,} left out: {why}" for why, count in self.left_out.items() if count]


def train_queries(made: Sequence[Query], asked: Sequence[Query], splits: Mapping[str, Split]) -> Added:
    """Those of `made` that are no wording of what users ask in dev or test, or word for word in train, where users' judgments are better.

    `asked` are the log's queries with their groups. One that is like a training query joins its group, so that neither's chunks are
    negatives of the other.
    """
    said = {normalised(query.text) for query in asked}
    fresh = [query for query in made if normalised(query.text) not in said]
    grouped, _ = group_queries([*(replace(query, group="") for query in asked), *fresh])
    held_out: set[str] = set()
    named: dict[str, str] = {}
    for before, now in zip(asked, grouped, strict=False):
        if splits.get(before.id) is Split.TRAIN:
            named[now.group] = min(named.get(now.group, before.group), before.group)
        else:
            held_out.add(now.group)
    kept = tuple(replace(q, group=named.get(q.group, q.group)) for q in grouped[len(asked) :] if q.group not in held_out)
    return Added(
        kept,
        {
            "users asked it word for word": len(made) - len(fresh),
            "a wording of a query in dev or test": len(fresh) - len(kept),
        },
    )
