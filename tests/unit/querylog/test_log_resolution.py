"""From what the log calls a result to the store's chunk ids."""

from __future__ import annotations

import pytest

from vecmigrate.config import LogSection
from vecmigrate.errors import DataError
from vecmigrate.querylog import resolve
from vecmigrate.records import Feedback, FeedbackKind, QueryEvent
from vecmigrate.testing.memory import MemoryStore, SourceRow

TEXTS = {
    "c1": "Reset your password in the account settings.",
    "c2": "Connect to the  VPN\nbefore you open the share.",
    "c3": "Ask the help desk for a new badge.",
}


class Counting(MemoryStore):
    """Counts how it is read."""

    scans = 0
    fetched = 0

    def scan(self, *, batch_size=1000):
        self.scans += 1
        return super().scan(batch_size=batch_size)

    def fetch(self, ids):
        self.fetched += len(ids)
        return super().fetch(ids)


def store(metadata=lambda id: {}):
    return Counting([SourceRow(id, text, None, metadata(id)) for id, text in TEXTS.items()])


def event(*clicked, shown=()):
    return QueryEvent("q", "how", shown=shown, feedback=tuple(Feedback(ref, FeedbackKind.CLICK) for ref in clicked))


def run(events, source, **settings):
    return resolve(events, source, LogSection(path="log.jsonl", **settings))


def test_ids_are_found_without_a_scan():
    source = store()
    found = run([event("c1", shown=("c2", "c1")), event("c2", "gone")], source)
    assert found.chunk_of == {"c1": "c1", "c2": "c2"}
    assert (source.scans, source.fetched) == (0, 3)
    assert found.report.lines() == [
        "resolved 2 searches: 2 of 3 references are chunks of the store",
        "  2 by id, 0 by metadata, 0 by text",
        "  match rate of what users clicked, cited or rated: 66.7% (2 of 3)",
        "  not found, for example: 'gone'",
    ]


def test_metadata_keys_are_detected():
    source = store(lambda id: {"uri": f"https://kb/{id}", "lang": "en", "n": 3.5, "tags": ["a"], "draft": True})
    found = run([event("https://kb/c1"), event("https://kb/c3")], source)
    assert found.chunk_of == {"https://kb/c1": "c1", "https://kb/c3": "c3"}
    assert (found.report.by_metadata, found.report.key, source.scans) == (2, "uri", 1)
    assert "  0 by id, 2 by metadata 'uri', 0 by text" in found.report.lines()


def test_the_field_that_names_most_wins():
    source = store(lambda id: {"old_id": {"c1": "11", "c2": "12"}.get(id, "-"), "number": {"c1": 12, "c2": 13, "c3": 11}[id]})
    found = run([event("11", "12", "13")], source)
    assert found.report.key == "number"
    assert found.chunk_of == {"11": "c3", "12": "c1", "13": "c2"}


def test_nested_metadata_is_named_by_its_path():
    found = run([event("11")], store(lambda id: {"loc": {"page": {"c1": 10, "c2": 11, "c3": 12}[id]}}), metadata_key="loc.page")
    assert (found.chunk_of, found.report.key) == ({"11": "c2"}, "loc.page")


def test_numbers_and_texts_are_the_same_reference():
    assert run([event("7")], store(lambda id: {"n": 7.0 if id == "c2" else 1.0})).chunk_of == {"7": "c2"}


def test_a_reference_that_several_chunks_hold_names_none():
    source = store(lambda id: {"doc": "manual" if id != "c3" else "badge"})
    found = run([event("manual", "badge")], source, metadata_key="doc")
    assert found.chunk_of == {"badge": "c3"}
    assert found.report.several == 1
    assert any("1 references are held by more than one chunk" in line for line in found.report.lines())


def test_a_field_that_mostly_names_several_is_not_taken_for_an_id():
    source = store(lambda id: {"page": 1})
    with pytest.raises(DataError, match="none of the log's 1 references"):
        run([event("1")], source)


def test_a_field_that_names_one_by_chance_is_not_taken_either():
    pages = {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3}
    source = Counting([SourceRow(id, f"text {id}", None, {"page": page}) for id, page in pages.items()])
    with pytest.raises(DataError, match="none of the log's 3 references"):
        run([event("1", "2", "3")], source)
    assert run([event("1", "2", "3")], source, metadata_key="page").chunk_of == {"3": "e"}


def test_texts_are_found_exactly_and_then_by_white_space():
    found = run([event(TEXTS["c1"], "Connect to the VPN before you open the share.", "  Ask the help desk for a new badge.\n")], store())
    assert sorted(found.chunk_of.values()) == ["c1", "c2", "c3"]
    assert found.report.by_text == 3


def test_of_equal_texts_the_first_by_id_is_taken():
    source = Counting([SourceRow(id, "the same text", None) for id in ("b", "a", "c")])
    assert run([event("the same text")], source).chunk_of == {"the same text": "a"}


def test_an_exact_text_beats_one_that_differs_in_white_space():
    source = Counting([SourceRow("a", "the  same", None), SourceRow("b", "the same", None)])
    assert run([event("the same")], source).chunk_of == {"the same": "b"}


def test_leftovers_are_not_looked_for_once_ids_are_what_the_references_are():
    source = store(lambda id: {"uri": f"u-{id}"})
    found = run([event("c1", "c2", "u-c3")], source)
    assert (found.report.by_id, found.report.by_metadata, source.scans) == (2, 0, 0)


def test_auto_mixes_ways_where_ids_are_few():
    source = store(lambda id: {"uri": f"u-{id}"})
    found = run([event("c1", "u-c2", TEXTS["c3"], "nowhere")], source)
    report = found.report
    assert (report.by_id, report.by_metadata, report.by_text) == (1, 1, 1)
    assert report.match_rate == 0.75


@pytest.mark.parametrize(("way", "expected"), [("id", {"c1": "c1"}), ("metadata", {"u-c2": "c2"}), ("text", {TEXTS["c3"]: "c3"})])
def test_one_way_alone_can_be_asked_for(way, expected):
    source = store(lambda id: {"uri": f"u-{id}"})
    found = run([event("c1", "u-c2", TEXTS["c3"])], source, resolve_by=way)
    assert found.chunk_of == expected


def test_below_half_there_is_a_warning():
    found = run([event("c1", "x", "y")], store())
    assert found.report.warnings == ("fewer than half of the references are chunks of the store (1 of 3)",)
    assert found.report.lines()[-1].startswith("  warning: fewer than half")
    assert run([event("c1", "x")], store()).report.warnings == ()


def test_no_match_at_all_shows_both_sides():
    source = store(lambda id: {"uri": f"u-{id}"})
    with pytest.raises(DataError) as caught:
        run([event("doc-1", "doc-2"), event("doc-3", "doc-4")], source)
    assert caught.value.message == (
        "none of the log's 4 references is a chunk of docs by id, metadata or text: "
        "the log says 'doc-1', 'doc-2', 'doc-3'; the store's ids are 'c1', 'c2', 'c3'"
    )
    assert "metadata_key" in caught.value.hint
    assert "uri" in caught.value.hint


def test_no_match_in_an_empty_store_says_that_it_is_empty():
    with pytest.raises(DataError, match="the store's ids are none: it is empty"):
        run([event("doc-1")], Counting([]))


def test_long_references_are_cut_in_messages():
    with pytest.raises(DataError) as caught:
        run([event("x" * 5000)], store())
    assert len(caught.value.message) < 300


def test_what_was_only_shown_does_not_save_a_log_whose_clicks_match_nothing():
    with pytest.raises(DataError, match="none of the log's 1 references"):
        run([event("doc-1", shown=("c1", "c2"))], store())


def test_a_log_without_feedback_resolves_to_nothing_and_without_an_error():
    found = run([event(shown=("c1",))], store())
    assert (found.chunk_of, found.report.match_rate) == ({"c1": "c1"}, 0.0)


def test_min_rating_travels_on():
    assert run([event("c1")], store(), min_rating=4).min_rating == 4.0


def test_many_references_are_fetched_in_batches():
    ids = [f"id{i}" for i in range(2500)]
    source = Counting([SourceRow(id, f"text {id}", None) for id in ids])
    assert len(run([event(*ids)], source).chunk_of) == 2500
    assert source.fetched == 2500
