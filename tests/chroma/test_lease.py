import multiprocessing
import subprocess
import sys
import time

import pytest

from vecmigrate.errors import Conflict
from vecmigrate.testing.hooks import CONTROL, TEXTS, rows_of
from vecmigrate_chroma import adapter, lease
from vecmigrate_chroma.naming import lock_name

HOLD = """
import sys
from vecmigrate_chroma import adapter
store = adapter.open({"url": sys.argv[1], "source": sys.argv[2]}, collection=sys.argv[2])
with store.operation("build", actor="ann"):
    print("held", flush=True)
    sys.stdin.read()
"""


def _locks(client, store):
    return sorted(found.name for found in client.list_collections() if found.name.startswith(lock_name(store.collection, 0)[:-8]))


def _hold(chroma_server, store):
    command = [sys.executable, "-c", HOLD, chroma_server.url, store.collection]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_an_operator_of_another_process_is_named(chroma_server, opened_on_server):
    store = opened_on_server(rows_of(TEXTS))
    process = _hold(chroma_server, store)
    with pytest.raises(Conflict, match=rf"ann \(build\), process {process.pid}"), store.operation("cutover", actor="bob"):
        pytest.fail("two operators at once")
    process.communicate("")
    with store.operation("cutover", actor="bob"):
        pass


def test_a_killed_operator_of_this_machine_is_passed_by_at_once(chroma_server, server_client, opened_on_server):
    store = opened_on_server(rows_of(TEXTS))
    process = _hold(chroma_server, store)
    process.kill()
    process.communicate()
    with store.operation("cutover", actor="bob"):
        assert _locks(server_client, store) == [lock_name(store.collection, 2)]


def test_an_operator_elsewhere_is_passed_by_when_its_turn_has_expired(server_client, opened_on_server, monkeypatch):
    store = opened_on_server(rows_of(TEXTS))
    record = {"actor": "ann", "what": "build", "pid": 1, "host": "elsewhere", "where": "another boot", "started": "1"}
    turn = server_client.create_collection(lock_name(store.collection, 1), metadata={**record, "expires": "2999-01-01T00:00:00+00:00"})
    with pytest.raises(Conflict, match="elsewhere"), store.operation("cutover", actor="bob"):
        pytest.fail("two operators at once")
    turn.modify(metadata={**record, "expires": "2020-01-01T00:00:00+00:00"})
    with store.operation("cutover", actor="bob"):
        assert _locks(server_client, store) == [lock_name(store.collection, 2)]


def test_a_living_operator_renews_its_turn(server_client, opened_on_server, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    store = opened_on_server(rows_of(TEXTS))
    with store.operation("build", actor="ann"):
        seen, until = set(), time.monotonic() + 20
        while len(seen) < 3 and time.monotonic() < until:
            seen.add(server_client.get_collection(lock_name(store.collection, 1)).metadata["expires"])
    assert len(seen) == 3


def test_turns_never_go_back_and_only_the_last_is_kept(server_client, opened_on_server):
    store = opened_on_server(rows_of(TEXTS))
    for _ in range(3):
        with store.operation("build", actor="ann"):
            pass
    assert _locks(server_client, store) == [lock_name(store.collection, 3)]
    assert server_client.get_collection(lock_name(store.collection, 3)).metadata["released"] is True


def test_the_lock_is_per_collection(opened_on_server, chroma_server, server_client):
    store = opened_on_server(rows_of(TEXTS))
    other = adapter.open({"url": chroma_server.url, "source": store.collection}, collection=f"{store.collection}b")
    with store.operation("build", actor="ann"), other.operation("build", actor="bob"):
        assert [_locks(server_client, s) for s in (store, other)] == [[lock_name(s.collection, 1)] for s in (store, other)]
    other.close()


def _take(url, name, barrier, results):
    store = adapter.open({"url": url, "source": name}, collection=name)
    for _ in range(5):
        barrier.wait(60)
        try:
            with store.operation("race", actor="x"):
                barrier.wait(60)
                results.put(1)
        except Conflict:
            barrier.wait(60)
        barrier.wait(60)
    store.close()


def test_of_racing_processes_one_gets_each_turn(chroma_server, opened_on_server):
    store = opened_on_server(rows_of(TEXTS))
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    racers = [context.Process(target=_take, args=(chroma_server.url, store.collection, barrier, results)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0, 0, 0]
    assert sum(results.get(timeout=5) for _ in range(5)) == 5
    assert results.empty()
    assert store.adopt(CONTROL.model).number == 0
