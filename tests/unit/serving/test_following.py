"""Readers keep to the version they know through a short outage, say so, and never go back to an older pointer."""

import logging
import time

import pytest

from vecmigrate.errors import PreflightRefused, StoreUnavailable, UsageError
from vecmigrate.serving import Following, Retriever
from vecmigrate.serving import following as module
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow

OLD, NEW = HashingEncoder(32, "old"), HashingEncoder(32, "new")


class Fragile(MemoryStore):
    """A store whose pointer can't be read while `away`."""

    away = False
    asked = 0

    def pointer(self):
        self.asked += 1
        if self.away:
            raise StoreUnavailable("connection refused")
        return super().pointer()


@pytest.fixture
def store():
    made = Fragile([SourceRow("a", "the cat sat", OLD.encode_documents(["the cat sat"])[0])], dimension=32)
    made.adopt(OLD.model)
    return made


def test_before_a_version_is_adopted_there_is_nothing_to_follow():
    with pytest.raises(PreflightRefused, match="no serving pointer yet"):
        Following(Fragile()).serving()


def test_without_a_ttl_the_pointer_is_read_each_time(store):
    following = Following(store)
    assert [following.serving().age for _ in range(3)] == [0.0, 0.0, 0.0]
    assert store.asked == 3


def test_a_pointer_is_remembered_for_its_ttl_and_its_age_told(store):
    following = Following(store, ttl=3600)
    following.serving()
    time.sleep(0.02)
    assert following.serving().age >= 0.02
    assert store.asked == 1
    assert following.serving(fresh=True).age == 0.0
    assert store.asked == 2


def test_while_the_pointer_cannot_be_read_the_known_version_serves_and_the_answer_tells(store, caplog):
    retriever = Retriever(store, FixedEncoders.of(OLD))
    retriever.search("cat")
    store.away = True
    with caplog.at_level(logging.WARNING, "vecmigrate"):
        answers = [retriever.search("cat") for _ in range(5)]
    assert {(a.version, a.results[0].chunk.id) for a in answers} == {("docs@v0", "a")}
    assert all(answer.pointer_age > 0 for answer in answers)
    assert [r.getMessage().partition(";")[0] for r in caplog.records] == ["the pointer can't be read (connection refused)"]
    assert store.asked == 2, "it is asked again after a moment, not by every query"


def test_when_the_store_is_back_so_is_the_pointer_and_a_further_outage_is_told_again(store, caplog, monkeypatch):
    monkeypatch.setattr(module, "ASK_AGAIN", 0.0)
    following = Following(store)
    following.serving()
    with caplog.at_level(logging.WARNING, "vecmigrate"):
        for _ in range(2):
            store.away = True
            assert following.serving().age > 0
            assert following.serving().age > 0
            store.away = False
            assert following.serving().age == 0.0
    assert len(caplog.records) == 2


def test_after_the_grace_and_for_a_reader_that_knows_nothing_an_outage_is_an_error(store, monkeypatch):
    monkeypatch.setattr(module, "ASK_AGAIN", 0.0)
    following = Following(store, grace=0.05)
    following.serving()
    store.away = True
    assert following.serving().age > 0
    with pytest.raises(StoreUnavailable):
        following.serving(fresh=True)
    time.sleep(0.06)
    with pytest.raises(StoreUnavailable):
        following.serving()
    with pytest.raises(StoreUnavailable):
        Following(store).serving()


def test_a_pointer_read_late_does_not_take_the_place_of_a_later_one(store, monkeypatch):
    following = Following(store, ttl=3600)
    old = store.pointer()
    store._data.pointer = type(old)(old.collection, 0, None, 7)
    assert following.serving().pointer.epoch == 7
    monkeypatch.setattr(store, "pointer", lambda: old)  # a thread that asked before, and is answered now
    assert following.serving(fresh=True).pointer.epoch == 1
    assert following.serving().pointer.epoch == 7


@pytest.mark.parametrize(("name", "value"), [("ttl", "x"), ("ttl", -1), ("ttl", True), ("grace", None), ("grace", float("nan"))])
def test_seconds_are_numbers(store, name, value):
    with pytest.raises(UsageError, match="a number of seconds"):
        Following(store, **{name: value})


def test_after_its_end_a_retriever_says_so_and_takes_no_more_questions(store):
    retriever = Retriever(store, FixedEncoders.of(OLD))
    retriever.close()
    retriever.close()
    with pytest.raises(PreflightRefused, match="was closed: nothing more is read"):
        retriever.search("cat")


@pytest.mark.parametrize("query", [5, None, ["a"], b"cat"])
def test_a_question_is_a_text(store, query):
    with pytest.raises(UsageError, match="queries are texts"):
        Retriever(store, FixedEncoders.of(OLD)).search(query)


def test_many_questions_are_a_list(store):
    with pytest.raises(UsageError, match="queries are texts"):
        Retriever(store, FixedEncoders.of(OLD)).search_many("cat")
