"""What is kept of the candidates, and the reason of everything that isn't."""

from __future__ import annotations

import pytest

from vecmigrate.config import SynthesisSection
from vecmigrate.synthesis.candidates import Candidate
from vecmigrate.synthesis.filtering import filtered
from vecmigrate.synthesis.round_trip import RoundTrip, found_again

from .synthesis_world import ENCODER, corpus, store_of, word

TEXTS = {
    "a": "To open the lid, press the red button for three seconds and lift. Then wait.",
    "b": "Another text.",
    "c": "",
    "d": "",
    "e": "",
}


def run(*candidates, **settings):
    made = [c if isinstance(c, Candidate) else Candidate(c, ("a",), "endpoint") for c in candidates]
    kept = filtered(made, TEXTS, SynthesisSection(**settings))
    return {wording: c.chunk_ids for wording, c in kept.by_wording.items()}, kept.dropped


def test_a_query_is_kept_under_its_normalised_wording_with_its_text_tidied():
    kept = filtered([Candidate("  How to OPEN\nit? ", ("a",), "endpoint")], TEXTS, SynthesisSection()).by_wording
    assert kept == {"how to open it": Candidate("How to OPEN it?", ("a",), "endpoint")}


@pytest.mark.parametrize(
    ("text", "settings", "reason"),
    [
        ("?!", {}, "no words"),
        ("lid", {}, "shorter than 2 words"),
        ("one two three four", {"max_words": 3}, "longer than 3 words or 400 characters"),
        ("x" * 300 + " " + "y" * 300, {}, "longer than 40 words or 400 characters"),
        ("Press the red button, for THREE seconds and lift", {}, "8 words or more, copied from the chunk as they stand"),
        ("the red button", {"copied_words": 3}, "3 words or more, copied from the chunk as they stand"),
    ],
)
def test_each_reason_is_counted(text, settings, reason):
    assert run(text, **settings) == ({}, {reason: 1})


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("the red button", {}),
        ("press the red button for two seconds and lift", {}),
        ("Press the red button for three seconds and lift", {"copied_words": 0}),
        ("蓋の開け方", {}),
        ("lid", {"min_words": 1}),
    ],
)
def test_what_is_short_enough_or_other_words_stays(text, settings):
    assert list(run(text, **settings)[1]) == []


def test_a_word_that_only_ends_like_the_copy_is_no_copy():
    kept, _ = run("ess the red button for three seconds and li", copied_words=8)
    assert list(kept) == ["ess the red button for three seconds and li"]


def test_the_same_wording_and_nearly_the_same_for_one_chunk_are_dropped():
    kept, dropped = run("how to open the lid", "How to open the lid?", "how to open the lid then")
    assert list(kept) == ["how to open the lid"]
    assert dropped == {"the same wording for the same chunk": 1, "nearly the same as another query for the same chunk": 1}


def test_nearly_the_same_for_another_chunk_stays():
    kept, dropped = run("how to open the lid", Candidate("how to open the lid then", ("b",), "endpoint"))
    assert (len(kept), dropped) == (2, {})


def test_chunks_that_gave_one_wording_answer_one_query_up_to_three():
    kept, dropped = run(*(Candidate("opening hours", (id,), "title") for id in "abc"))
    assert kept == {"opening hours": ("a", "b", "c")}
    assert dropped == {"the same wording for another chunk: one query with both": 2}
    kept, dropped = run(*(Candidate("opening hours", (id,), "title") for id in "abcde"))
    assert kept == {}
    assert dropped["given by more than 3 chunks, so it does not say which is meant"] == 1


# The round trip.


def trip(k, chunks=40):
    store, control = store_of(corpus(chunks))
    return RoundTrip(store, control, ENCODER, chunks, k)


RIGHT = Candidate(f"{word(3, 1)} with {word(3, 2)}", ("c003",), "keywords")
WRONG = Candidate(f"{word(9, 1)} with {word(9, 2)}", ("c003",), "keywords")


def test_a_query_whose_chunk_the_control_does_not_find_is_dropped():
    assert found_again(trip(1), {"right": RIGHT, "wrong": WRONG}) == {"right": RIGHT}


def test_one_of_several_chunks_is_enough():
    both = Candidate(WRONG.text, ("c003", "c009"), "title")
    assert found_again(trip(1), {"both": both}) == {"both": both}


def test_a_depth_of_none_keeps_everything():
    assert found_again(trip(0), {"right": RIGHT, "wrong": WRONG}) == {"right": RIGHT, "wrong": WRONG}


@pytest.mark.parametrize(("k", "chunks", "depth"), [(20, 40, 4), (20, 5, 1), (20, 100_000, 20), (1, 40, 1), (0, 40, 0)])
def test_a_small_collection_is_searched_less_deep(k, chunks, depth):
    assert RoundTrip(*store_of(corpus(2)), ENCODER, chunks, k).depth == depth


def test_more_queries_than_a_batch_are_all_looked_at():
    many = {
        f"{topic} {place}": Candidate(f"{word(topic, place)} {word(topic, 0)}", (f"c{topic:03d}",), "k")
        for topic in range(40)
        for place in (1, 2)
    }
    assert len(found_again(trip(1), many)) == 80
    moved = {wording: Candidate(c.text, (f"c{(int(c.chunk_ids[0][1:]) + 1) % 40:03d}",), "k") for wording, c in many.items()}
    assert found_again(trip(1), moved) == {}
