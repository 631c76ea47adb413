"""Which chunks are drawn, and what their titles are."""

from __future__ import annotations

import pytest

from vecmigrate.records import Chunk
from vecmigrate.synthesis.drawing import draw_chunks
from vecmigrate.synthesis.titles import chunks_with_titles, title_of

from .synthesis_world import corpus, store_of

LONG = "This chunk has a text that is long enough to make a query of."


def drawn_ids(chunks, most=5, seed=0):
    return [chunk.id for chunk in draw_chunks(store_of(chunks)[0], most, seed).chunks]


def test_the_draw_hangs_on_ids_and_seed_not_on_the_order_of_the_scan():
    assert drawn_ids(corpus()) == drawn_ids(corpus()[::-1])
    assert drawn_ids(corpus()) != drawn_ids(corpus(), seed=1)


def test_a_smaller_draw_is_the_beginning_of_a_larger_one():
    assert drawn_ids(corpus(), 20)[:5] == drawn_ids(corpus(), 5)
    assert len(set(drawn_ids(corpus(), 100))) == 40


def test_short_chunks_and_equal_texts_are_passed_over_and_counted():
    drawn = draw_chunks(store_of([Chunk("a", "too short"), Chunk("b", LONG), Chunk("c", LONG), Chunk("d", f"{LONG} More.")])[0], 10, 0)
    assert len(drawn.chunks) == 2
    assert drawn.seen == 4
    assert drawn.passed_over == {"shorter than 40 characters": 1, "the same text as another chunk that was drawn": 1}


@pytest.mark.parametrize(
    ("metadata", "text", "title"),
    [
        ({"title": "Refund policy"}, LONG, "Refund policy"),
        ({"Title": "  Refund \n policy "}, LONG, "Refund policy"),
        ({"title": "Manual", "section": "Opening the lid"}, LONG, "Opening the lid"),
        ({"Header 1": "Manual", "Header 2": "Opening the lid"}, LONG, "Opening the lid"),
        ({"headings": ["Manual", "Lids"]}, LONG, "Lids"),
        ({"title": "manual_v2.pdf"}, LONG, ""),
        ({"title": "https://example.org/x"}, LONG, ""),
        ({"title": 7, "source": "a"}, LONG, ""),
        ({"title": "x" * 101}, LONG, ""),
        ({}, f"## Opening the lid ##\n\n{LONG}", "Opening the lid"),
        ({}, f"\n\nOpening the lid\n{LONG}", "Opening the lid"),
        ({}, f"This line ends as a sentence.\n{LONG}", ""),
        ({}, f"a b c d e f g h i j k l m\n{LONG}", ""),
        ({}, "Opening the lid\nshort text", ""),
        ({}, "----\n" + LONG, ""),
        ({}, LONG, ""),
    ],
)
def test_a_title_is_read_from_metadata_then_a_heading_then_a_first_line_like_one(metadata, text, title):
    assert title_of(Chunk("a", text, metadata)) == title


def test_every_chunk_with_a_title_is_found_up_to_a_limit():
    chunks = [Chunk(f"c{i}", f"{LONG} {i}", {"title": "Refund policy" if i < 2 else "Introduction"}) for i in range(9)]
    found = chunks_with_titles(store_of(chunks)[0], {"refund policy", "introduction"}, 3)
    assert found == {"refund policy": ("c0", "c1"), "introduction": ("c2", "c3", "c4", "c5")}
