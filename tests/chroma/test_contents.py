import numpy as np
import pytest

from vecmigrate.errors import WrongSpace
from vecmigrate.filters import parse_filter
from vecmigrate.records import Chunk
from vecmigrate.testing.chroma import put_rows
from vecmigrate.testing.hooks import CANDIDATE, CONTROL, TEXTS, begin, build, fill, random_rows, row, rows_of
from vecmigrate.testing.memory import SourceRow
from vecmigrate_chroma import contents
from vecmigrate_chroma.rows import spelled

EVERY_TYPE = {
    "text": "it's",
    "empty": "",
    "whole": 3,
    "large": 2**53 + 1,
    "real": 0.1,
    "round": 2.0,
    "yes": True,
    "words": ["b", "a"],
    "ones": [1, 2],
}


def _copied(client, id):
    found = client.get_collection("vecmigrate.docs.v1", embedding_function=None).get(ids=[id])
    return found["documents"][0], {k: v for k, v in (found["metadatas"][0] or {}).items() if not k.startswith("vecmigrate_")}


def test_metadata_of_every_type_makes_the_whole_way(opened, chroma_directory):
    _, client = chroma_directory
    store = opened([SourceRow("a", "red apple", CONTROL.encode_documents(["a"])[0], EVERY_TYPE), row("none", "green pear")])
    store.adopt(CONTROL.model)
    version = build(store)
    assert store.fetch(["a"])["a"].metadata == EVERY_TYPE
    document, metadata = _copied(client, "a")
    assert (document, metadata) == ("red apple", EVERY_TYPE)
    assert {key: type(value) for key, value in metadata.items()} == {key: type(value) for key, value in EVERY_TYPE.items()}
    assert _copied(client, "none") == ("green pear", {})
    assert store.differences(version).clean


def test_metadata_that_changed_is_stale_because_filters_answer_from_the_copy(opened, chroma_directory):
    _, client = chroma_directory
    store = opened([row("a", "red apple", tenant="one"), row("b", "green pear", tenant="one")])
    store.adopt(CONTROL.model)
    version = build(store)
    client.get_collection("app").update(ids=["a"], metadatas=[{"tenant": "two"}])
    assert store.differences(version).stale == ("a",)
    assert fill(store, version, CANDIDATE) == ["a"]
    found = store.search(version, CANDIDATE.encode_queries(["red apple"]), 5, where=parse_filter({"tenant": "one"}))
    assert [hit.chunk_id for hit in found[0]] == ["b"]
    assert store.differences(version).clean


def test_a_metadata_key_that_went_away_goes_away_in_the_copy(opened, chroma_directory):
    _, client = chroma_directory
    store = opened([row("a", "red apple", tenant="one", draft=True)])
    store.adopt(CONTROL.model)
    version = build(store)
    app = client.get_collection("app")
    app.delete(ids=["a"])
    put_rows(app, [row("a", "red apple", tenant="one")])
    fill(store, version, CANDIDATE)
    assert _copied(client, "a")[1] == {"tenant": "one"}
    assert store.search(version, CANDIDATE.encode_queries(["apple"]), 5, where=parse_filter({"draft": True})) == [()]


def test_metadata_is_compared_by_value_and_type():
    assert spelled({"a": 1, "b": 2}) == spelled({"b": 2, "a": 1, "c": None})
    values = [{}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": [1]}, {"a": [1, 2]}]
    assert len({spelled(value) for value in values}) == 7
    assert spelled({"a": float("nan")}) == spelled({"a": float("nan")})


def test_the_embedded_text_may_be_a_metadata_field(opened, chroma_directory):
    _, client = chroma_directory
    rows = [
        row("a", "the stored document", summary="red apple"),
        row("b", "another", summary=" "),
        row("c", None, summary="blue sky"),
        row("d", "no summary"),
    ]
    store = opened(rows, text_key="summary")
    inspection = store.inspect()
    assert (inspection.rows, inspection.rows_without_text, inspection.text) == (4, 2, "metadata field 'summary'")
    assert {chunk.id: chunk.text for batch in store.scan() for chunk in batch} == {"a": "red apple", "c": "blue sky"}
    store.adopt(CONTROL.model)
    version = build(store)
    assert _copied(client, "a") == ("the stored document", {"summary": "red apple"})
    assert _copied(client, "c")[0] is None
    assert store.differences(version).clean


def test_a_load_goes_in_parts_of_the_servers_batch_size_and_of_bounded_bytes(opened, monkeypatch):
    store = opened(random_rows(700, 16))
    store.adopt(CONTROL.model)
    version = begin(store)
    monkeypatch.setattr(store._contents, "_batch", 150)
    monkeypatch.setattr(contents, "MOST_BYTES", 10_000)
    sizes = []
    rows = store._rows.readable(version)
    upsert = rows.handle.upsert
    rows.handle.upsert = lambda **kwargs: sizes.append(len(kwargs["ids"])) or upsert(**kwargs)
    chunks = [chunk for batch in store.scan() for chunk in batch]
    store.load(version, chunks, CANDIDATE.encode_documents([chunk.text for chunk in chunks]))
    assert sum(sizes) == 700
    assert max(sizes) <= 10_000 // (64 + 2 * len("text number 7"))
    assert store.differences(version).clean


def test_one_text_larger_than_a_request_still_goes(opened, monkeypatch):
    monkeypatch.setattr(contents, "MOST_BYTES", 1_000)
    store = opened(rows_of({"a": "x" * 5_000, "b": "green pear"}))
    store.adopt(CONTROL.model)
    assert store.differences(build(store)).clean


def test_more_rows_than_one_request_takes_are_all_read(opened):
    store = opened(random_rows(6_000, 4))
    assert store.count() == 6_000
    assert len(store.fetch([f"id{i:05}" for i in range(6_000)])) == 6_000
    assert len(list(store.scan(batch_size=2_500))) == 3


def test_rows_deleted_during_a_scan_hide_no_others(opened, chroma_directory):
    _, client = chroma_directory
    store = opened(random_rows(1_000, 4))
    app = client.get_collection("app")
    seen = []
    for place, batch in enumerate(store.scan(batch_size=100)):
        seen += [chunk.id for chunk in batch]
        if place == 2:
            app.delete(ids=[f"id{i:05}" for i in range(200)])
            app.delete(ids=[f"id{i:05}" for i in range(900, 950)])
    assert seen == [f"id{i:05}" for i in range(1_000) if not 900 <= i < 950]


def test_a_row_deleted_while_it_was_pending_is_extra_and_not_lost_from_sight(opened, chroma_directory):
    _, client = chroma_directory
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    version = begin(store)
    for chunks in store.pending(version):
        client.get_collection("app").delete(ids=["sorted"])
        store.load(version, chunks, CANDIDATE.encode_documents([chunk.text for chunk in chunks]))
    assert store.differences(version).extra == ("sorted",)


def test_chunks_that_come_from_elsewhere_are_loaded_too(opened):
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    version = begin(store)
    store.load(version, [Chunk("sorted", TEXTS["sorted"], {"n": None, "m": 1})], CANDIDATE.encode_documents([TEXTS["sorted"]]))
    assert list(store.vectors(version, ["sorted"])) == ["sorted"]


def test_a_collection_without_texts_warns_and_yields_nothing(opened):
    store = opened([row("a", None), row("b", "")])
    assert (list(store.scan()), store.count(), list(store.sample(5))) == ([], 0, [])
    assert any("nothing to embed" in warning for warning in store.inspect().warnings)


def test_an_empty_collection_takes_a_control_of_any_dimension_and_says_why(opened):
    store = opened([])
    assert any("dimension is not known" in warning for warning in store.inspect().warnings)
    assert store.adopt(CONTROL.model).state == "active"


def test_a_control_of_another_dimension_names_both(opened):
    store = opened(random_rows(3, 4))
    with pytest.raises(WrongSpace, match=r"4 dimensions.*16"):
        store.adopt(CONTROL.model)


def test_texts_with_nul_make_the_whole_way(opened):
    store = opened(rows_of({"a": "red\0apple"}))
    store.adopt(CONTROL.model)
    version = build(store)
    assert store.differences(version).clean
    assert np.allclose(store.vectors(version, ["a"])["a"], CANDIDATE.encode_documents(["red\0apple"])[0], atol=1e-5)


def test_inspect_says_what_is_true_of_disk_and_changes(opened):
    details = dict(opened(rows_of(TEXTS)).inspect().details)
    assert "chroma vacuum --path" in details["disk"]
    assert "comparing ids and hashes" in details["changes"]
