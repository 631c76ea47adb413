"""Which chunks hold a given text: one scan of the collection, in memory of the texts that are looked for.

Texts are compared by their words, so that case, punctuation and white space don't count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from vecmigrate.querylog.wording import normalised, words
from vecmigrate.records import text_hash
from vecmigrate.store import Source

BATCH = 1000
MOST_CHUNKS = 10
"""A text that more chunks than these hold does not say which is meant."""
FEWEST_WORDS = 5
"""A text of fewer words is found only where it is the whole chunk: "Yes." is in many."""


def chunks_with_ids(store: Source, ids: Collection[str]) -> frozenset[str]:
    """Those of the ids that are chunks of the store."""
    wanted = sorted(ids)
    return frozenset(id for start in range(0, len(wanted), BATCH) for id in store.fetch(wanted[start : start + BATCH]))


def chunks_with_text(store: Source, texts: Collection[str]) -> dict[str, tuple[str, ...]]:
    """For each text the ids of the chunks whose text it is: exactly, or else with white space evened out. Absent where there is none."""
    exact: dict[str, set[str]] = {}
    loose: dict[str, set[str]] = {}
    if not texts:
        return {}
    hashes = {text_hash(text) for text in texts}
    evened = {_evened(text) for text in texts}
    for batch in store.scan(batch_size=BATCH):
        for chunk in batch:
            if chunk.text_hash in hashes:
                exact.setdefault(chunk.text_hash, set()).add(chunk.id)
            if (hashed := _evened(chunk.text)) in evened:
                loose.setdefault(hashed, set()).add(chunk.id)
    found = {text: exact.get(text_hash(text)) or loose.get(_evened(text)) for text in texts}
    return {text: _first(ids) for text, ids in found.items() if ids}


def chunks_containing(store: Source, texts: Collection[str]) -> dict[str, tuple[str, ...]]:
    """For each text the ids of the chunks that are it, or from `FEWEST_WORDS` words on contain it. Absent where there is none.

    Of a text that is in more than `MOST_CHUNKS` chunks, that many and one more are given.
    """
    sought = _Sought({text: words(normalised(text)) for text in texts})
    for batch in store.scan(batch_size=BATCH) if texts else ():
        for chunk in batch:
            sought.look(chunk.id, words(normalised(chunk.text)))
    return {text: _first(ids) for text, ids in sought.found.items()}


def _first(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(ids)[: MOST_CHUNKS + 1])


def _evened(text: str) -> str:
    return text_hash(" ".join(text.split()))


class _Sought:
    """The texts by all their words, and by their first ones: a chunk's words are looked up as they go by."""

    def __init__(self, texts: dict[str, tuple[str, ...]]) -> None:
        self.found: dict[str, set[str]] = {}
        self._whole: dict[tuple[str, ...], list[str]] = {}
        self._by_start: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        for text, said in texts.items():
            self._whole.setdefault(said, []).append(text)
            if len(said) >= FEWEST_WORDS:
                self._by_start.setdefault(" ".join(said[:FEWEST_WORDS]), []).append((said, text))
        self._first_words = {start.split(" ", 1)[0] for start in self._by_start}

    def look(self, id: str, said: Sequence[str]) -> None:
        """Note every text that this chunk is, or contains."""
        held = [*self._whole.get(tuple(said), ()), *self._inside(said)]
        for text in held:
            ids = self.found.setdefault(text, set())
            ids.add(id)
            if len(ids) > MOST_CHUNKS + 1:
                ids.remove(max(ids))

    def _inside(self, said: Sequence[str]) -> Iterator[str]:
        for place, word in enumerate(said):
            if word in self._first_words:
                start = " ".join(said[place : place + FEWEST_WORDS])
                for wanted, text in self._by_start.get(start, ()):
                    if tuple(said[place : place + len(wanted)]) == wanted:
                        yield text
