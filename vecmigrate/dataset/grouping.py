"""Which queries are wordings of the same thing: they never part across a split, or the test would be half known.

Two queries are one group when their normalised texts are equal, or their words are the same in another order, or at least 80 % of
their words are (Jaccard), where words of six letters and more count as the same when one slip (a letter missing, added, changed or
two exchanged) lies between them. Groups join up: a like b and b like c puts all three together.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vecmigrate.querylog.wording import normalised, query_id_of, words
from vecmigrate.records import Query

SIMILAR = 0.8
SLIP_LENGTH = 6
LONG = 8
"""Words from which on two queries of like wording may differ in more than one."""
MOST_COMPARISONS = 100
"""Long queries that are compared for sharing one rare word; where there are more, the report says so."""


@dataclass(frozen=True, slots=True)
class GroupingReport:
    """How the queries fell together. `cut` counts those that were not compared with all that share a rare word."""

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
            out.append(f"  note: {self.cut:,} long queries share a word with very many others, and were compared with the nearest of them")
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

    About linear in the number of queries: most are looked up; long ones are compared where they share a rare word (prefix filtering,
    Bayardo et al., WWW 2007), with a bound.
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
    """Join every two bags whose Jaccard similarity is at least `SIMILAR`; returns how many had to be cut short.

    Bags of up to seven words can only be so similar when one has one word more, which is a look-up; so is one word changed.
    """
    distinct = {bag: i for i, bag in enumerate(bags)}
    _join_by_one_word(union, distinct)
    long = [(bag, i) for bag, i in distinct.items() if len(bag) >= LONG]
    return _join_long(union, sorted(long, key=lambda item: (len(item[0]), sorted(item[0]))))


def _join_by_one_word(union: _Union, distinct: Mapping[frozenset[str], int]) -> None:
    without_one: dict[int, tuple[frozenset[str], int]] = {}  # by hash, which takes a tenth of the memory
    for bag, i in distinct.items():
        for word in bag:
            rest = bag - {word}
            if rest in distinct and _similar(bag, rest):
                union.join(i, distinct[rest])
            if len(bag) > LONG:
                other, j = without_one.setdefault(hash(rest), (bag, i))
                if _similar(bag, other):
                    union.join(i, j)


def _join_long(union: _Union, long: Sequence[tuple[frozenset[str], int]]) -> int:
    counts = Counter(word for bag, _ in long for word in bag)
    postings: dict[str, deque[tuple[frozenset[str], int]]] = {}
    cut = 0
    for bag, i in long:
        shortest = math.ceil(SIMILAR * len(bag) - 1e-9)
        prefix = sorted(bag, key=lambda word: (counts[word], word))[: len(bag) - shortest + 1]
        held = [postings.setdefault(word, deque(maxlen=MOST_COMPARISONS)) for word in prefix]
        cut += any(len(posting) == MOST_COMPARISONS for posting in held)
        for posting in held:
            for other, j in posting:
                if len(other) >= shortest and union.find(i) != union.find(j) and _similar(bag, other):
                    union.join(i, j)
            posting.append((bag, i))
    return cut


def _similar(one: frozenset[str], other: frozenset[str]) -> bool:
    shared = len(one & other)
    return shared >= SIMILAR * (len(one) + len(other) - shared) - 1e-9
