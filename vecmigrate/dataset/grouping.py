"""Which queries are wordings of the same thing: they never part across a split, or the test would be half known.

Two queries are one group when their normalised texts are equal, or their words are the same in another order, or at least 80 % of
their words are (Jaccard), where words of six letters and more count as the same when one slip (a letter missing, added, changed or
two exchanged) lies between them. Groups join up: a like b and b like c puts all three together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vecmigrate.querylog.wording import normalised, query_id_of, words
from vecmigrate.records import Query

SIMILAR = 0.8
SLIP_LENGTH = 6
MOST_COMPARISONS = 5000
"""Per query; beyond it the queries are too uniform for the words to tell them apart, and the report says so."""


@dataclass(frozen=True, slots=True)
class GroupingReport:
    """How the queries fell together. `cut` counts the queries that had more neighbours to compare than the limit."""

    queries: int
    groups: int
    largest: int
    cut: int = 0

    def lines(self) -> list[str]:
        """For printing."""
        out = [f"grouped {self.queries:,} queries into {self.groups:,} groups of like wording (largest: {self.largest:,} queries)"]
        if self.largest > max(10, self.queries // 5):
            out.append("  warning: one group holds more than a fifth of the queries: they differ in few words, as templates do")
        if self.cut:
            out.append(f"  warning: {self.cut:,} queries have too many near neighbours to compare them all")
        return out


class _Union:
    """Disjoint sets over 0 … n - 1, with path halving."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def find(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        self._parent[self.find(i)] = self.find(j)


def group_queries(queries: Sequence[Query]) -> tuple[tuple[Query, ...], GroupingReport]:
    """The queries with their `group` filled in, in the same order. A group's name hangs on its texts alone.

    About linear in the number of queries: only those that share a rare word are compared (prefix filtering, Bayardo et al., WWW 2007).
    """
    wordings = [normalised(query.text) for query in queries]
    bags = _bags(wordings)
    union = _Union(len(queries))
    _join_equal(union, wordings)
    _join_equal(union, [tuple(sorted(bag)) or wording for bag, wording in zip(bags, wordings, strict=True)])
    cut = _join_similar(union, bags)
    members: dict[int, list[int]] = {}
    for i in range(len(queries)):
        members.setdefault(union.find(i), []).append(i)
    names = {root: f"g{min(query_id_of(wordings[i]) for i in group)[1:]}" for root, group in members.items()}
    grouped = tuple(replace(query, group=names[union.find(i)]) for i, query in enumerate(queries))
    return grouped, GroupingReport(len(queries), len(members), max(map(len, members.values()), default=0), cut)


def _join_equal(union: _Union, keys: Iterable[object]) -> None:
    first: dict[object, int] = {}
    for i, key in enumerate(keys):
        union.join(i, first.setdefault(key, i))


def _bags(wordings: Sequence[str]) -> list[frozenset[str]]:
    """The distinct words of each text, each word in its most usual spelling."""
    tokens = [words(wording) for wording in wordings]
    usual = usual_spellings(Counter(word for text in tokens for word in set(text)))
    return [frozenset(usual.get(word, word) for word in text) for text in tokens]


def usual_spellings(counts: Mapping[str, int]) -> dict[str, str]:
    """Each long word that is one slip away from a more frequent one, with that one (deletion neighbourhoods, as SymSpell has them)."""
    long = sorted((w for w in counts if len(w) >= SLIP_LENGTH and w.isalpha()), key=lambda w: (-counts[w], w))
    place = {word: i for i, word in enumerate(long)}
    owner: dict[str, str] = {}
    usual: dict[str, str] = {}
    for word in long:
        best = min((owner[form] for form in _slips(word) if form in owner), key=place.__getitem__, default=word)
        if best != word:
            usual[word] = usual.get(best, best)
        for form in _slips(word):
            owner.setdefault(form, word)
    return usual


def _slips(word: str) -> Iterator[str]:
    yield word
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]


def _join_similar(union: _Union, bags: Sequence[frozenset[str]]) -> int:
    """Join every two bags whose Jaccard similarity is at least `SIMILAR`; returns how many had to be cut short."""
    counts = Counter(word for bag in bags for word in bag)
    postings: dict[str, list[int]] = {}
    cut = 0
    distinct = {bag: i for i, bag in enumerate(bags)}
    for bag, i in sorted(distinct.items(), key=lambda item: (len(item[0]), sorted(item[0]))):
        shortest = math.ceil(SIMILAR * len(bag) - 1e-9)
        prefix = sorted(bag, key=lambda word: (counts[word], word))[: len(bag) - shortest + 1]
        near = {j for word in prefix for j in postings.get(word, ()) if len(bags[j]) >= shortest}
        cut += len(near) > MOST_COMPARISONS
        for j in sorted(near)[-MOST_COMPARISONS:]:
            shared = len(bag & bags[j])
            if shared >= SIMILAR * (len(bag) + len(bags[j]) - shared) - 1e-9:
                union.join(i, j)
        for word in prefix:
            postings.setdefault(word, []).append(i)
    return cut
