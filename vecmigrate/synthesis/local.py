"""Queries out of the chunks' own words, with no service and no model.

    title      the chunk's title or heading, against every chunk that has it
    keywords   the three to five most telling words of a sentence (frequent in the chunk, rare elsewhere: tf-idf), in their order
    sentence   a sentence without its commonest words: the inverse cloze task (Lee et al., ACL 2019), see below
    crop       a run of 8 to 20 words with some of them deleted, as Contriever crops (Izacard et al., TMLR 2022)

Those papers pair a piece of a text with the text *without* it. Here the relevant chunk is a row of the store, and what is judged,
searched and trained on has to be one and the same text; a second text for training alone would have to travel through judgments, files
and hashes. So the stored text stays whole, and the *query* is made unlike it: words are left out, and long copies are filtered away
(`copied_words`). How common a word is, is counted over the drawn chunks, so no list of stop words in any language is needed. Texts
without spaces between words (Chinese, Japanese, Thai) give titles only.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from random import Random

from vecmigrate.config import SynthesisSection
from vecmigrate.querylog.wording import normalised, words
from vecmigrate.records import Chunk
from vecmigrate.store import Source
from vecmigrate.synthesis.candidates import Candidate, Generated, Generator
from vecmigrate.synthesis.drawing import Drawn
from vecmigrate.synthesis.filtering import MOST_CHUNKS
from vecmigrate.synthesis.titles import chunks_with_titles, title_of

SENTENCE_WORDS = (5, 40)
KEYWORDS = (3, 5)
CROP_WORDS = (8, 20)
DELETED = 0.2
"""The share of a crop's words that is deleted; one at least."""
COMMON = 0.25
"""A word in more than this share of the chunks says little of any one of them."""

_END = " .,;:|"
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n\s*\n|\n(?=\s*[-*•#|]|\s*\d+[.)])")
_MARKUP = re.compile(r"[#*`|>_]+(?=\s|$)|(?<=\s)[#*`|>_]+|^[#*`|>_]+")


@dataclass(frozen=True, slots=True)
class _Source:
    """One chunk with what the kinds need. `rarity` maps a word to the number of drawn chunks that hold it."""

    chunk: Chunk
    rarity: Counter[str]
    drawn: int
    settings: SynthesisSection

    def random(self, kind: str) -> Random:
        """The kind's own draw in this chunk."""
        seed = f"{self.settings.seed}\0{kind}\0{self.chunk.id}".encode("utf-8", "surrogatepass")
        return Random(hashlib.sha256(seed).digest())  # noqa: S311  # a seeded draw, no secret

    def sentences(self) -> list[tuple[str, ...]]:
        """Those of usable length, each as its words as written, in an order drawn once: kinds begin at different ends of it."""
        found = list(_sentences(self.chunk.text))
        self.random("sentences").shuffle(found)
        return found

    def common(self, word: str) -> bool:
        """Whether the word says little."""
        return self.rarity[word] > max(1, COMMON * self.drawn)

    def telling(self, word: str, times: int) -> float:
        """How much a word that is so many times in the chunk says of it. Without its markup a word may be one that is in no chunk."""
        return (1 + math.log(max(1, times))) * math.log(1 + self.drawn / max(1, self.rarity[word]))


def local_queries(store: Source, settings: SynthesisSection) -> Generator:
    """The generator that needs no service: `per_chunk` queries of each chunk, one of each of `kinds` in turn."""

    def generate(drawn: Drawn) -> Generated:
        rarity = Counter(word for chunk in drawn.chunks for word in set(words(normalised(chunk.text))))
        made: list[Candidate] = []
        barren = 0
        for chunk in drawn.chunks:
            source = _Source(chunk, rarity, len(drawn.chunks), settings)
            found = _in_turn(source)
            barren += not found
            made += found
        unused = {"no title, and no sentence of usable length": barren} if barren else {}
        return Generated(tuple(_with_all_holders(made, store)), ("made from the chunks' own words, by no model and no user",), unused)

    return generate


def _in_turn(source: _Source) -> list[Candidate]:
    """One of each kind, then the next of each, until there are enough."""
    made = [list(_KINDS[kind](source)) for kind in source.settings.kinds]
    found = [
        Candidate(text, (source.chunk.id,), kind)
        for turn in zip_longest(*made)
        for kind, text in zip(source.settings.kinds, turn, strict=True)
        if text
    ]
    return found[: source.settings.per_chunk]


def _with_all_holders(made: Sequence[Candidate], store: Source) -> Iterator[Candidate]:
    """A title out of the metadata is that of every chunk of its section: all of them answer it."""
    wanted = {normalised(candidate.text) for candidate in made if candidate.kind == "title"}
    held = chunks_with_titles(store, wanted, MOST_CHUNKS) if wanted else {}
    for candidate in made:
        others = held.get(normalised(candidate.text), ()) if candidate.kind == "title" else ()
        yield Candidate(candidate.text, tuple(sorted({*candidate.chunk_ids, *others})), candidate.kind)


def _sentences(text: str) -> Iterator[tuple[str, ...]]:
    """The sentences of usable length, each as its words as written."""
    for piece in _SENTENCE_END.split(text):
        tokens = tuple(_MARKUP.sub("", piece).split())
        if SENTENCE_WORDS[0] <= len(tokens) <= SENTENCE_WORDS[1]:
            yield tokens


def _titles(source: _Source) -> Iterator[str]:
    if title := title_of(source.chunk).rstrip(_END):
        yield title


def _keywords(source: _Source) -> Iterator[str]:
    random = source.random("keywords")
    here = Counter(words(normalised(source.chunk.text)))
    for sentence in source.sentences():
        kept = list(dict.fromkeys(word for word in words(normalised(" ".join(sentence))) if _telling(word, source)))
        weight = {word: source.telling(word, here[word]) for word in kept}
        chosen = set(sorted(kept, key=lambda word: (-weight[word], word))[: random.randint(*KEYWORDS)])
        if len(chosen) >= KEYWORDS[0]:
            yield " ".join(word for word in kept if word in chosen)


def _telling(word: str, source: _Source) -> bool:
    return len(word) > 1 and not word.isdigit() and not source.common(word)


def _telegraphic(source: _Source) -> Iterator[str]:
    for sentence in reversed(source.sentences()):
        if not source.settings.copied_words:  # copies are wanted
            yield " ".join(sentence)
            continue
        kept = [token for token in sentence if not all(map(source.common, words(normalised(token))))]
        if KEYWORDS[0] <= len(kept):
            yield " ".join(kept).rstrip(_END)


def _crops(source: _Source) -> Iterator[str]:
    random = source.random("crop")
    tokens = source.chunk.text.split()
    for _ in range(source.settings.per_chunk):
        length = min(random.randint(*CROP_WORDS), len(tokens) // 2)
        if length < CROP_WORDS[0]:
            return
        start = random.randrange(len(tokens) - length + 1)
        run = tokens[start : start + length]
        gone = set(random.sample(range(1, length - 1), max(1, round(DELETED * length))))
        yield " ".join(token for place, token in enumerate(run) if place not in gone).rstrip(_END)


_KINDS: dict[str, Callable[[_Source], Iterator[str]]] = {
    "title": _titles,
    "keywords": _keywords,
    "sentence": _telegraphic,
    "crop": _crops,
}
