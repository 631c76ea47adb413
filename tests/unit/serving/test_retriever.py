"""A query is answered within one version, whatever is flipped, retired or deleted meanwhile."""

import threading
from collections.abc import Sequence

import pytest

from vecmigrate.errors import PreflightRefused, UsageError, VersionRetired
from vecmigrate.reindex import build
from vecmigrate.serving import Retriever
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import State

OLD, NEW = HashingEncoder(32, "old"), HashingEncoder(32, "new")
TEXTS = {"a": "the cat sat on the mat", "b": "a dog chased the cat", "c": "stock prices fell on monday"}
ENCODERS = FixedEncoders.of(OLD, NEW)


@pytest.fixture
def store() -> MemoryStore:
    """v0 serves; v1, of the same dimension but another space, is ready."""
    vectors = OLD.encode_documents(list(TEXTS.values()))
    rows = [SourceRow(i, t, v, {"animal": i != "c"}) for (i, t), v in zip(TEXTS.items(), vectors, strict=True)]
    store = MemoryStore(rows, dimension=32)
    store.adopt(OLD.model)
    build(store, store.create_version(NEW.model), NEW, actor="me")
    return store


def test_an_answer_names_its_version_epoch_and_model_and_carries_the_texts(store):
    answer = Retriever(store, ENCODERS).search("cat on the mat", 2)
    assert (answer.version, answer.epoch, answer.fingerprint) == ("docs@v0", 1, OLD.model.fingerprint)
    assert [(r.chunk.id, r.chunk.text) for r in answer.results] == [("a", "the cat sat on the mat"), ("b", "a dog chased the cat")]
    assert answer.results[0].score > answer.results[1].score


def test_the_query_is_encoded_by_the_version_that_serves(store):
    retriever = Retriever(store, ENCODERS)
    store.activate(1, expect_epoch=1, actor="me")
    answer = retriever.search("the cat sat on the mat", 1)
    assert (answer.version, answer.epoch, answer.fingerprint) == ("docs@v1", 2, NEW.model.fingerprint)
    assert answer.results[0].score == pytest.approx(1.0, abs=1e-5)  # the two spaces are strangers: another encoder gives far less


def test_many_queries_are_answered_by_one_version(store):
    answers = Retriever(store, ENCODERS).search_many(["cat", "monday"], 1)
    assert [a.results[0].chunk.id for a in answers] == ["b", "c"]
    assert {a.version for a in answers} == {"docs@v0"}


def test_no_queries_no_answers(store):
    assert Retriever(store, ENCODERS).search_many([]) == []


def test_a_filter_narrows_the_results(store):
    answer = Retriever(store, ENCODERS).search("cat", 3, where={"animal": False})
    assert [r.chunk.id for r in answer.results] == ["c"]


def test_a_bad_filter_is_a_usage_error(store):
    with pytest.raises(UsageError, match="cannot be read"):
        Retriever(store, ENCODERS).search("cat", where={"animal": {"$like": "x"}})


def test_before_any_version_there_is_nothing_to_search():
    with pytest.raises(PreflightRefused, match="no serving pointer yet"):
        Retriever(MemoryStore(dimension=32), ENCODERS).search("cat")


def test_a_remembered_pointer_answers_whole_from_the_version_before(store):
    retriever = Retriever(store, ENCODERS, pointer_ttl=60)
    retriever.search("cat", 1)
    store.activate(1, expect_epoch=1, actor="me")
    late = retriever.search("the cat sat on the mat", 1)
    assert (late.version, late.epoch) == ("docs@v0", 1)
    assert late.results[0].score == pytest.approx(1.0, abs=1e-5)


def test_a_version_retired_under_the_reader_makes_it_start_over(store):
    retriever = Retriever(store, ENCODERS, pointer_ttl=60)
    store.activate(1, expect_epoch=1, actor="me")
    retriever.search("cat", 1)
    store.activate(0, expect_epoch=2, actor="me")
    v1 = next(v for v in store.versions() if v.number == 1)
    store.drop(store.advance(v1, State.RETIRED, actor="me"))
    assert retriever.search("cat", 1).version == "docs@v0"


def test_a_store_that_always_says_retired_is_not_asked_forever(store, monkeypatch):
    calls = []

    def retired(*_: object, **__: object) -> Sequence[object]:
        calls.append(1)
        raise VersionRetired("docs@v0 is retired")

    monkeypatch.setattr(store, "search", retired)
    with pytest.raises(VersionRetired):
        Retriever(store, ENCODERS).search("cat")
    assert len(calls) == 3


def test_a_chunk_deleted_since_the_search_is_left_out(store, monkeypatch):
    search = store.search

    def then_delete(*args, **kwargs):
        found = search(*args, **kwargs)
        store.delete("a")
        return found

    monkeypatch.setattr(store, "search", then_delete)
    answer = Retriever(store, ENCODERS).search("cat on the mat", 2)
    assert [r.chunk.id for r in answer.results] == ["b"]


def test_readers_under_flips_never_see_a_mixed_space(store):
    """A query scored by its own version finds itself at 1.0; scored across the two spaces it can't."""
    retriever, mixed, errors = Retriever(store, ENCODERS), [], []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                answer = retriever.search("stock prices fell on monday", 1)
                if abs(answer.results[0].score - 1.0) > 1e-5:
                    mixed.append(answer)
            except Exception as error:
                errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for epoch in range(1, 101):
        store.activate(epoch % 2, expect_epoch=epoch, actor="me")
    stop.set()
    for reader in readers:
        reader.join()
    assert (mixed, errors) == ([], [])
    assert store.pointer().epoch == 101
