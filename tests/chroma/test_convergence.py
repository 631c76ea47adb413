"""Several writers of one row: whoever writes a version last has looked at the source last, so it ends with what the source holds."""

import random
import threading

import numpy as np
import pytest

from vecmigrate.errors import Conflict
from vecmigrate.reindex import bring_in, bringing, build, sync, verify
from vecmigrate.reindex.bringing import Brought
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate_chroma.contents import Contents
from vecmigrate_chroma.rows import Rows

OLD, NEW = HashingEncoder(24, "old"), HashingEncoder(24, "new")


class Overtaken(HashingEncoder):
    """While it encodes, an application writes: `meanwhile` is called before each of the first `times` answers."""

    def __init__(self, meanwhile, times=1):
        super().__init__(24, "new")
        self.meanwhile, self.left = meanwhile, times

    def encode_documents(self, texts):
        if self.left:
            self.left -= 1
            self.meanwhile()
        return super().encode_documents(texts)


def overtaking(app):
    """An application that changes one row, deletes one and adds one, through the stand-in: source first, then every version."""

    def write():
        app.collection.upsert(ids=["gift"], documents=["the newer text"])
        app.collection.delete(ids=["lost"])
        app.collection.upsert(ids=["new"], documents=["a row that came meanwhile"])

    return write


def older(app):
    """Another client changes two rows, which no version has yet."""
    app.own.update(ids=["gift", "lost"], documents=["the older text", "older too"], embeddings=OLD.encode_documents(["x", "y"]))


def whole(app) -> bool:
    return verify(app.store, app.version(1), NEW).ok


@pytest.mark.everywhere
def test_a_sync_that_encodes_an_older_text_does_not_end_with_it(application):
    app = application()
    older(app)
    report = sync(app.store, app.version(1), Overtaken(overtaking(app)))
    assert report.loaded == 2
    assert whole(app)


def test_a_build_beside_a_writer_ends_with_what_the_writer_wrote(application):
    app = application()
    other = app.store.create_version(NEW.model)
    built = build(app.store, other, Overtaken(overtaking(app)), actor="operator").version
    assert app.store.differences(built).clean
    assert whole(app)


def test_two_applications_that_write_one_row_end_with_the_later(application):
    app = application()
    older(app)
    assert bring_in(app.store, app.version(1), Overtaken(overtaking(app)), ["gift", "lost", "new"]) == Brought(loaded=3, removed=2)
    assert whole(app)


def test_a_row_that_is_written_again_while_it_is_removed_stays(application, monkeypatch):
    app = application()
    app.own.delete(ids=["gift"])
    remove = Contents.remove

    def removed_late(contents, stored, ids):
        monkeypatch.undo()
        app.collection.upsert(ids=["gift"], documents=["it is back"])
        return remove(contents, stored, ids)

    monkeypatch.setattr(Contents, "remove", removed_late)
    sync(app.store, app.version(1), NEW)
    assert app.raw(1).get(ids=["gift"])["documents"] == ["it is back"]
    assert whole(app)


def test_a_vector_is_only_kept_for_the_text_that_was_read_with_it(application, monkeypatch):
    app = application()
    records, first = Rows.records, iter([True])

    def changed_between(rows, ids, *include):
        for part in records(rows, ids, *include):
            yield part
            if rows.name.endswith(".v1") and next(first, False):
                app.collection.upsert(ids=["gift"], documents=["for a moment"])

    monkeypatch.setattr(Rows, "records", changed_between)
    chunk = app.store.fetch(["gift"])["gift"]
    kept = app.store.reusable(app.version(1), [chunk])
    assert np.allclose(kept["gift"], NEW.encode_documents(["wrap it as a gift"])[0], atol=1e-5)


def test_a_row_that_never_stands_still_is_an_error_and_no_endless_loop(application, monkeypatch):
    monkeypatch.setattr(bringing, "MOST_ROUNDS", 5)
    app = application()
    count = iter(range(100))
    older(app)

    def restless():
        app.own.update(ids=["gift"], documents=[f"text {next(count)}"], embeddings=OLD.encode_documents(["x"]))

    with pytest.raises(Conflict, match="change faster than they are encoded, such as 'gift'"):
        bring_in(app.store, app.version(1), Overtaken(restless, times=100), ["gift"])


@pytest.mark.parametrize("mutant", ["load looks at nothing", "versions are read before the write"])
def test_without_the_rule_rows_are_lost_so_these_tests_can_fail(application, monkeypatch, mutant):
    app = application()
    if mutant == "load looks at nothing":
        monkeypatch.setattr(Contents, "_not_in_source", lambda *_: [])
        older(app)
        sync(app.store, app.version(1), Overtaken(overtaking(app)))
    else:
        seen = app.live._maintained()
        monkeypatch.setattr(app.live, "_maintained", list)  # as they stood before v1 was complete
        app.collection.upsert(ids=["new"], documents=["between two looks"])
        assert [v.number for v, _ in seen] == [1]
    assert not whole(app)


def write_somehow(collection, chance, number):
    """One random act on one of three rows."""
    id, n = f"shared{chance.randrange(3)}", chance.randrange(10**6)
    act = chance.choice(["upsert", "upsert", "update", "label", "delete"])
    if act == "delete":
        collection.delete(ids=[id])
    elif act == "label":
        collection.update(ids=[id], metadatas=[{f"key{n % 3}": n, f"key{(n + 1) % 3}": None}])
    else:
        getattr(collection, act)(ids=[id], documents=[f"text {n} of {number}"])


def contend(app, collections, seconds, seed):
    """Threads that write, change, relabel and delete the same few rows, and one that syncs without pause; the errors of all."""
    stop, problems = threading.Event(), []

    def again_and_again(act):
        while not stop.is_set():
            try:
                act()
            except Exception as error:
                problems.append(error)

    def writer(number):
        chance = random.Random(seed + number)
        return lambda: write_somehow(chance.choice(collections), chance, number)

    acts = [*(writer(number) for number in range(4)), lambda: sync(app.store, app.version(1), NEW, allow_mass_deletion=True)]
    threads = [threading.Thread(target=again_and_again, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return problems


@pytest.mark.everywhere
def test_writers_of_the_same_rows_and_a_sync_leave_every_version_whole(application):
    app = application()
    second = app.other.stand_in(app.live)
    for seed in (1, 2, 3):
        assert contend(app, [app.collection, second], 0.7, seed) == []
        assert app.store.differences(app.version(1)).clean
    assert whole(app)


@pytest.mark.slow
@pytest.mark.everywhere
def test_writers_of_the_same_rows_and_a_sync_leave_every_version_whole_for_long(application):
    app = application()
    for seed in range(20):
        assert contend(app, [app.collection], 2.0, seed) == []
        assert whole(app)
