"""Readers and writers while the pointer moves between a version and one that shares its vectors."""

import threading

import pytest

from vecmigrate.errors import ModelError, StoreError
from vecmigrate.records import Chunk
from vecmigrate.reindex import build
from vecmigrate.serving import LiveIndex, Retriever
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder, TranslatingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import State

BASE, NEW = HashingEncoder(32, "old"), HashingEncoder(32, "new")
TUNED, OVER_NEW = TranslatingEncoder(BASE, {"moggy": "cat"}), TranslatingEncoder(NEW, {"moggy": "cat"})
ENCODERS = FixedEncoders.of(BASE, NEW, TUNED, OVER_NEW)
TEXTS = {"a": "the cat", "b": "a dog chased it", "c": "moggy prices fell"}


class Counting(HashingEncoder):
    """Notes the documents that it encodes."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = []

    def encode_documents(self, texts):
        self.seen += texts
        return super().encode_documents(texts)


class Broken(HashingEncoder):
    def encode_documents(self, texts):
        raise ModelError("out of memory")


@pytest.fixture
def store():
    """v0 serves; v1 is another model's; v2 shares v0's vectors, v3 shares v1's. All are ready."""
    store = MemoryStore([SourceRow(i, t, BASE.encode_documents([t])[0]) for i, t in TEXTS.items()], dimension=32)
    store.adopt(BASE.model)
    for encoder, shares in ((NEW, ""), (TUNED, "v0"), (OVER_NEW, "v1")):
        build(store, store.create_version(encoder.model, shares=shares), encoder, actor="me")
    return store


def version(store, number):
    return next(v for v in store.versions() if v.number == number)


def put(store, id, text):
    store.put(Chunk(id, text), BASE.encode_documents([text])[0])


def test_a_reader_follows_a_flip_to_shared_vectors_and_back(store):
    retriever = Retriever(store, ENCODERS)
    seen = []
    for target in (2, 0, 3, 1):
        store.activate(target, expect_epoch=store.pointer().epoch, actor="me")
        answer = retriever.search("moggy", 1)
        seen.append((answer.version, answer.fingerprint == version(store, target).model.fingerprint, answer.results[0].chunk.id))
    assert seen == [("docs@v2", True, "a"), ("docs@v0", True, "c"), ("docs@v3", True, "a"), ("docs@v1", True, "c")]


def test_a_version_that_shares_and_was_retired_under_the_reader_makes_it_start_over(store):
    retriever = Retriever(store, ENCODERS, pointer_ttl=60)
    store.activate(2, expect_epoch=1, actor="me")
    assert retriever.search("moggy", 1).version == "docs@v2"
    store.activate(0, expect_epoch=2, actor="me")
    store.drop(store.advance(version(store, 2), State.RETIRED, actor="me"))
    assert retriever.search("moggy", 1).version == "docs@v0"


def test_readers_under_flips_and_writes_get_whole_answers(store):
    """Each answer is the serving model's own reading of "moggy", and a row that was written is found by the versions over both."""
    retriever, problems, stop = Retriever(store, ENCODERS), [], threading.Event()
    live = LiveIndex(store, ENCODERS)
    wanted = {"docs@v0": "c", "docs@v1": "c", "docs@v2": "a", "docs@v3": "a"}

    def read():
        while not stop.is_set():
            answer = retriever.search("moggy", 1)
            if answer.results[0].chunk.id != wanted[answer.version]:
                problems.append(answer)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for turn, target in enumerate((2, 0, 3, 1, 2, 3, 0, 2)):
            put(store, f"new{turn}", f"fresh entry {turn}")
            live.changed([f"new{turn}"])
            store.activate(target, expect_epoch=store.pointer().epoch, actor="me")
            assert retriever.search(f"fresh entry {turn}", 1).results[0].chunk.id == f"new{turn}"
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert problems == []
    assert [store.differences(v).clean for v in store.versions()] == [True] * 4


def test_a_write_is_brought_into_shared_vectors_once(store, caplog):
    keeper = Counting(32, "new")
    live = LiveIndex(store, FixedEncoders.of(BASE, keeper, TUNED, OVER_NEW))
    for target, epoch in ((0, None), (3, 1), (2, 2)):
        if epoch is not None:
            store.activate(target, expect_epoch=epoch, actor="me")
        put(store, f"at{target}", f"written while {target} serves")
        live.changed([f"at{target}"])
        assert [store.differences(v).clean for v in store.versions()] == [True] * 4
    assert keeper.seen == ["written while 0 serves", "written while 3 serves", "written while 2 serves"]
    assert caplog.text == "", "nobody tries to write through a version that shares"


def test_what_cannot_be_brought_into_the_vectors_that_serve_is_an_error_whoever_shares_them(store, caplog):
    live = LiveIndex(store, FixedEncoders.of(BASE, Broken(32, "new"), TUNED, OVER_NEW))
    put(store, "late", "written late")
    live.changed(["late"])
    assert "docs@v1 falls behind" in caplog.text
    live.prepare(["written late"])
    store.activate(3, expect_epoch=1, actor="me")
    with pytest.raises(StoreError, match="not brought into docs@v1, which serves"):
        live.changed(["late"])
    with pytest.raises(ModelError):
        live.prepare(["written late"])
