"""Queries out of the chunks' own words."""

from __future__ import annotations

import pytest

from vecmigrate.config import SynthesisSection
from vecmigrate.querylog.wording import words
from vecmigrate.records import Chunk
from vecmigrate.synthesis import local_queries
from vecmigrate.synthesis.drawing import draw_chunks

from .synthesis_world import corpus, store_of, word


def generated(chunks, **settings):
    section = SynthesisSection(**settings)
    store, _ = store_of(chunks)
    return local_queries(store, section)(draw_chunks(store, section.max_chunks, section.seed))


def texts(chunks, **settings):
    return {candidate.chunk_ids: candidate.text for candidate in generated(chunks, **settings).candidates}


def test_titles_are_taken_as_they_are():
    found = texts(corpus(3), kinds=["title"])
    assert found == {(f"c{i:03d}",): f"Repairing the {word(i, 0)} {word(i, 4)}" for i in range(3)}


def test_a_title_is_answered_by_every_chunk_that_has_it_whether_drawn_or_not():
    chunks = [
        *corpus(2),
        Chunk("x", "A second chunk of the same section, with more words on it.", {"title": corpus(1)[0].metadata["title"]}),
    ]
    for candidate in generated(chunks, kinds=["title"], max_chunks=1, seed=3).candidates:
        assert candidate.chunk_ids == (("c000", "x") if "c000" in candidate.chunk_ids else ("c001",))
    assert ("c000", "x") in texts(chunks, kinds=["title"])


def test_keywords_are_three_to_five_words_that_few_chunks_have_in_their_order():
    own = {f"c{i:03d}": [word(i, place) for place in range(9)] for i in range(40)}
    for (id,), text in texts(corpus(), kinds=["keywords"], per_chunk=1).items():
        said = text.split()
        assert len(said) in (3, 4, 5)
        assert [w for w in own[id] if w in said] == [w for w in said if w in own[id]]
        assert "the" not in said
        assert set(said) & set(own[id])


def test_keywords_are_what_the_chunk_repeats_and_others_lack():
    text = "The used zylotron is before the marfane with the quendle in the plonk. Every zylotron is a zylotron, marfane and quendle."
    made = texts([*corpus(10), Chunk("x", text)], kinds=["keywords"], per_chunk=2)
    assert {"zylotron", "marfane", "quendle"} <= set(made["x",].split())


def test_a_sentence_loses_the_words_that_most_chunks_have():
    own = [word(7, place) for place in range(9)]
    made = [c.text for c in generated(corpus(), kinds=["sentence"], per_chunk=9).candidates if c.chunk_ids == ("c007",)]
    assert sorted(made) == [" ".join(own[:4]), " ".join(own[4:7])]


def test_a_sentence_stays_whole_where_copies_are_wanted():
    found = texts(corpus(4), kinds=["sentence"], per_chunk=1, copied_words=0)
    for (id,), text in found.items():
        assert text in next(c.text for c in corpus() if c.id == id)


def test_a_crop_is_a_run_of_words_with_some_deleted():
    for (id,), text in texts(corpus(), kinds=["crop"], per_chunk=1).items():
        chunk = next(c for c in corpus() if c.id == id)
        tokens, said = iter(chunk.text.split()), text.split()
        assert all(any(token == other.rstrip(".") for other in tokens) for token in (word.rstrip(".") for word in said)), "in their order"
        assert text not in chunk.text
        assert 6 <= len(said) <= 19


def test_kinds_take_turns_until_there_are_enough():
    made = generated(corpus(2), kinds=["title", "keywords"], per_chunk=3).candidates
    assert [(c.chunk_ids[0], c.kind) for c in sorted(made, key=lambda c: c.chunk_ids)] == [
        ("c000", "title"),
        ("c000", "keywords"),
        ("c000", "keywords"),
        ("c001", "title"),
        ("c001", "keywords"),
        ("c001", "keywords"),
    ]


def test_the_same_seed_makes_the_same_queries_whatever_the_order():
    one, other = generated(corpus()), generated(corpus()[::-1])
    assert one == other
    assert one != generated(corpus(), seed=1)


@pytest.mark.parametrize("text", ["日本語の文章は単語の間に空白がありません。" * 4, "0 1 2 3 4 5 6 7 8 9 " * 4, "word " * 60])
def test_a_chunk_that_gives_nothing_is_counted(text):
    made = generated([Chunk("a", text)], kinds=["title", "keywords"])
    assert made.candidates == ()
    assert made.unused == {"no title, and no sentence of usable length": 1}


def test_a_word_that_is_only_there_without_its_markup_is_no_crash():
    made = generated(
        [Chunk("a", "Set __value__ and foo_ then _bar to the _baz_ of qux_ before the zylotron starts again")], kinds=["keywords"]
    )
    assert len(made.candidates) == 1


def test_markup_is_no_part_of_a_query():
    chunk = Chunk("a", "- **Press** the reset button `twice` with a paper clip\n- Wait until the lamp turns green again")
    for text in (c.text for c in generated([chunk], kinds=["keywords"], per_chunk=4).candidates):
        assert set(words(text)) == set(text.split())
