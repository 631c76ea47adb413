"""Which candidates are no queries worth having: too short, too long, copied, said before, or answered by too many chunks.

Wordings that are nearly the same but belong to different chunks are both kept: the dataset puts them into one group, which is never split
and whose chunks are no negatives of each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vecmigrate.config import SynthesisSection
from vecmigrate.querylog.fields import clean
from vecmigrate.querylog.wording import normalised, words
from vecmigrate.synthesis.candidates import Candidate

SIMILAR = 0.8
"""Jaccard similarity of the words from which on two queries for one chunk are the same, as in grouping."""
MOST_CHUNKS = 3
"""A wording that more chunks than these gave does not say which of them is meant: "Introduction"."""
LONGEST = 400
"""Characters."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The queries that passed, by normalised wording, and by reason how many did not."""

    by_wording: Mapping[str, Candidate]
    dropped: Mapping[str, int]


@dataclass(slots=True)
class _Passed:
    """What has passed so far."""

    by_wording: dict[str, Candidate] = field(default_factory=dict)
    bags: dict[str, list[frozenset[str]]] = field(default_factory=dict)


def filtered(candidates: Iterable[Candidate], texts: Mapping[str, str], settings: SynthesisSection) -> Kept:
    """The candidates that are worth having, one for each wording. `texts` are those of the chunks they were made from, by id."""
    dropped: Counter[str] = Counter()
    passed = _Passed()
    for candidate in candidates:
        text = " ".join(clean(candidate.text).split())
        wording = normalised(text)
        why = _unusable(text, wording, settings) or _copied(wording, candidate, texts, settings) or _repeated(wording, candidate, passed)
        if why:
            dropped[why] += 1
        else:
            _merge(passed, wording, Candidate(text, candidate.chunk_ids, candidate.kind), dropped)
    vague = {wording for wording, candidate in passed.by_wording.items() if len(candidate.chunk_ids) > MOST_CHUNKS}
    dropped[f"given by more than {MOST_CHUNKS} chunks, so it does not say which is meant"] += len(vague)
    return Kept({wording: c for wording, c in passed.by_wording.items() if wording not in vague}, dict(+dropped))


def _unusable(text: str, wording: str, settings: SynthesisSection) -> str:
    n = len(words(wording))
    if n == 0:
        return "no words"
    if n < settings.min_words and text.isascii():  # a text without spaces may be one long "word"
        return f"shorter than {settings.min_words} words"
    if n > settings.max_words or len(text) > LONGEST:
        return f"longer than {settings.max_words} words or {LONGEST} characters"
    return ""


def _copied(wording: str, candidate: Candidate, texts: Mapping[str, str], settings: SynthesisSection) -> str:
    said = words(wording)
    if not settings.copied_words or len(said) < settings.copied_words:
        return ""
    sought = f" {' '.join(said)} "
    if any(sought in f" {' '.join(words(normalised(texts[id])))} " for id in candidate.chunk_ids if id in texts):
        return f"{settings.copied_words} words or more, copied from the chunk as they stand"
    return ""


def _repeated(wording: str, candidate: Candidate, passed: _Passed) -> str:
    if wording in passed.by_wording:
        before = passed.by_wording[wording].chunk_ids
        return "" if set(candidate.chunk_ids) - set(before) else "the same wording for the same chunk"
    bag = frozenset(words(wording))
    held = [other for id in candidate.chunk_ids for other in passed.bags.get(id, ())]
    return "nearly the same as another query for the same chunk" if any(_similar(bag, other) for other in held) else ""


def _similar(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= SIMILAR * len(one | other)


def _merge(passed: _Passed, wording: str, candidate: Candidate, dropped: Counter[str]) -> None:
    """Several chunks that gave one wording answer one query."""
    before = passed.by_wording.get(wording)
    if before is not None:
        dropped["the same wording for another chunk: one query with both"] += 1
        ids = tuple(sorted({*before.chunk_ids, *candidate.chunk_ids})[: MOST_CHUNKS + 1])
        candidate = Candidate(before.text, ids, before.kind)
    passed.by_wording[wording] = candidate
    for id in candidate.chunk_ids:
        passed.bags.setdefault(id, []).append(frozenset(words(wording)))
