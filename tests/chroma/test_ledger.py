import multiprocessing
from datetime import UTC, datetime

import pytest

from vecmigrate.errors import Conflict, PreflightRefused, StalePlan
from vecmigrate.testing.hooks import CANDIDATE, CONTROL, TEXTS, WIDER, build, rows_of
from vecmigrate.versions import Pointer, State
from vecmigrate_chroma import adapter
from vecmigrate_chroma.ledger import Epoch, Step, state_of

AT = datetime(2026, 1, 1, tzinfo=UTC)


def _epochs(*actives):
    pairs = zip(actives, [None, *actives], strict=False)
    return [Epoch(n, active, previous, "f", "app", AT, "", "activate", "", {}) for n, (active, previous) in enumerate(pairs, 1)]


def _step(to, epoch):
    return Step(1, 1, "state", AT, "", epoch, {"from": "?", "to": to, "note": ""})


@pytest.mark.parametrize(
    ("steps", "actives", "state"),
    [
        ([], [0], State.PLANNED),
        ([("ready", 1)], [0], State.READY),
        ([("ready", 1)], [0, 1], State.ACTIVE),
        ([("ready", 1)], [0, 1, 0], State.STANDBY),
        ([("ready", 1), ("retired", 3)], [0, 1, 0], State.RETIRED),
        ([("ready", 1), ("failed", 3), ("backfilling", 3), ("ready", 3)], [0, 1, 0], State.READY),
        ([("ready", 1), ("failed", 1)], [0, 1], State.ACTIVE),
        ([("ready", 1), ("failed", 1)], [0, 1, 0], State.STANDBY),
        ([("ready", 1), ("retired", 3)], [0, 1, 0, 1], State.ACTIVE),
        ([("ready", 1), ("retired", 3)], [0, 1, 0, 1, 2], State.STANDBY),
    ],
)
def test_a_state_follows_from_steps_and_epochs_and_a_flip_overrules_a_step_it_raced_with(steps, actives, state):
    assert state_of(1, [_step(*step) for step in steps], _epochs(*actives)) is state


def test_what_is_added_lies_beside_the_applications_collection_and_nothing_in_it(opened, chroma_directory):
    _, client = chroma_directory
    store = opened(rows_of(TEXTS))
    before = client.get_collection("app").get(include=["embeddings", "metadatas", "documents"])
    build_and_serve(store)
    assert sorted(found.name for found in client.list_collections()) == [
        "app",
        "vecmigrate.docs.epoch.00000001",
        "vecmigrate.docs.epoch.00000002",
        "vecmigrate.docs.events",
        "vecmigrate.docs.v1",
    ]
    after = client.get_collection("app").get(include=["embeddings", "metadatas", "documents"])
    assert (after["ids"], after["metadatas"], after["documents"]) == (before["ids"], before["metadatas"], before["documents"])
    assert (after["embeddings"] == before["embeddings"]).all()
    assert client.get_collection("app").metadata is None


def build_and_serve(store):
    store.adopt(CONTROL.model)
    build(store)
    return store.activate(1, expect_epoch=1, actor="op")


def test_a_version_describes_itself_in_its_own_metadata(opened, chroma_directory):
    _, client = chroma_directory
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    store.create_version(CANDIDATE.model)
    metadata = client.get_collection("vecmigrate.docs.v1", embedding_function=None).metadata
    assert (metadata["version"], metadata["fingerprint"], metadata["metric"]) == (1, CANDIDATE.model.fingerprint, "cosine")


def test_everything_is_there_after_the_process_has_ended(opened):
    first = opened(rows_of(TEXTS))
    pointer = build_and_serve(first)
    versions, history = list(first.versions()), list(first.history())
    first.close()
    again = opened(rows_of(TEXTS))
    assert (again.pointer(), list(again.versions()), list(again.history())) == (pointer, versions, history)


def test_a_collection_name_belongs_to_one_source(opened):
    opened(rows_of(TEXTS)).adopt(CONTROL.model)
    with pytest.raises(PreflightRefused, match="'app'"):
        opened(rows_of(TEXTS), source="other").pointer()


def test_two_collections_keep_apart(opened):
    one, other = opened(rows_of(TEXTS), collection="one"), opened(rows_of(TEXTS), source="app2", collection="other")
    build_and_serve(one)
    other.adopt(CANDIDATE.model)
    assert one.pointer() == Pointer("one", 1, 0, 2)
    assert other.pointer() == Pointer("other", 0, None, 1)


def test_the_pointer_of_a_warm_reader_is_one_request(opened):
    store = opened(rows_of(TEXTS))
    pointer = build_and_serve(store)
    asked = []
    find = store._driver._client.get_collection
    store._driver._client.get_collection = lambda name, **kwargs: asked.append(name) or find(name, **kwargs)
    assert store.pointer() == pointer
    assert asked == ["vecmigrate.docs.epoch.00000003"]


def test_a_number_whose_storage_a_crash_left_out_gets_it_with_the_first_load(opened, chroma_directory):
    _, client = chroma_directory
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    version = store.create_version(CANDIDATE.model)
    client.delete_collection("vecmigrate.docs.v1")
    store.close()
    again = opened(rows_of(TEXTS))
    assert again.differences(version).n_missing == len(TEXTS)
    chunks = list(again.fetch(["sorted"]).values())
    again.load(version, chunks, CANDIDATE.encode_documents([chunks[0].text]))
    assert again.differences(version).present == 1


def test_numbers_are_not_used_again_after_a_drop(opened, chroma_directory):
    _, client = chroma_directory
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    version = store.advance(build(store), State.CANCELLED, actor="op")
    store.drop(version)
    assert "vecmigrate.docs.v1" not in [found.name for found in client.list_collections()]
    assert store.create_version(WIDER.model).number == 2
    assert [event.kind for event in store.history() if event.version == 1] == ["create", *["state"] * 5, "drop"]


def _flip(url, name, number, barrier, results):
    store = adapter.open({"url": url, "source": name}, collection=name)
    for epoch in range(1, 9):
        barrier.wait(60)
        try:
            store.activate((number + epoch) % 2 + 1, expect_epoch=epoch, actor=str(number))
            results.put((epoch, number, "won"))
        except StalePlan:
            results.put((epoch, number, "stale"))
        barrier.wait(60)
    store.close()


def test_of_racing_processes_one_flips_each_epoch(chroma_server, opened_on_server):
    store = opened_on_server(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    build(store, CANDIDATE)
    build(store, WIDER)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    racers = [context.Process(target=_flip, args=(chroma_server.url, store.collection, n, barrier, results)) for n in range(2)]
    for racer in racers:
        racer.start()
    outcome = [results.get(timeout=120) for _ in range(16)]
    for racer in racers:
        racer.join(60)
    flips = [event for event in store.history() if event.kind == "activate"]
    assert store.pointer().epoch == 1 + len(flips)
    by_actor = {(event.epoch - 1, int(event.actor)) for event in flips}
    moved = {(epoch, number) for epoch, number, what in outcome if what == "won"}
    assert by_actor <= moved
    assert len({event.epoch for event in flips}) == len(flips) >= 4


def test_a_source_is_followed_by_one_collection_alone(opened):
    opened(rows_of(TEXTS), collection="one").adopt(CONTROL.model)
    second = opened(rows_of(TEXTS), collection="other")
    with pytest.raises(Conflict, match="'app' is followed already, as 'one'"):
        second.adopt(CONTROL.model)
    assert second.pointer() is None
    opened(rows_of(TEXTS), source="app2", collection="other").adopt(CONTROL.model)
    assert opened(rows_of(TEXTS), collection="one").adopt(CONTROL.model).number == 0
