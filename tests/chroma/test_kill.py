"""kill -9 in the middle of a build, and of the server under it: the next run goes on, nothing is missing, double or unfindable."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from vecmigrate.testing.chroma import ChromaServer, create_filled
from vecmigrate.testing.hooks import CANDIDATE, CONTROL, finish, row
from vecmigrate.versions import Metric, State
from vecmigrate_chroma import adapter
from vecmigrate_chroma.driver import close_client

ROWS = 1_500
BUILD = """
import json, sys
from vecmigrate_chroma import adapter
from vecmigrate.testing.hooks import CANDIDATE, CONTROL
from vecmigrate.versions import State
store = adapter.open(json.loads(sys.argv[1]), collection="docs")
with store.operation("build", actor="builder"):
    store.adopt(CONTROL.model)
    known = [v for v in store.versions() if v.number == 1]
    version = known[0] if known else store.create_version(CANDIDATE.model)
    if version.state is State.PLANNED:
        version = store.advance(version, State.BACKFILLING, actor="builder")
    for chunks in store.pending(version, batch_size=50):
        store.load(version, chunks, CANDIDATE.encode_documents([chunk.text for chunk in chunks]))
        print("loaded", *[chunk.id for chunk in chunks], flush=True)
print("done", flush=True)
store.close()
"""


def _texts():
    words = [
        "sort",
        "list",
        "file",
        "walk",
        "parse",
        "json",
        "regex",
        "thread",
        "sleep",
        "delete",
        "copy",
        "open",
        "close",
        "read",
        "write",
        "index",
    ]
    draw = random.Random(5)
    return {f"id{i:05}": f"{' '.join(draw.choices(words, k=5))} number {i}" for i in range(ROWS)}


def _application(path, texts=None):
    """An application's directory with these texts; the settings to open it with."""
    import chromadb

    client = chromadb.PersistentClient(path)
    create_filled(client, "app", [row(id, text) for id, text in (texts or _texts()).items()], Metric.COSINE)
    close_client(client)
    return {"path": str(path), "source": "app"}


def _builder(settings):
    command = [sys.executable, "-c", BUILD, json.dumps(settings)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _kill_after(process, batches, pause):
    """Kill it `pause` seconds after it has told of that many batches; the ids that it told of."""
    told = []
    while batches and (line := process.stdout.readline()).startswith("loaded"):
        told += line.split()[1:]
        batches -= 1
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    return told + _told(rest)


def _told(lines):
    """The ids of whole lines: a killed process may leave half a line."""
    whole = lines.rpartition("\n")[0]
    return [id for line in whole.splitlines() if line.startswith("loaded") for id in line.split()[1:]]


def _finish_and_check(settings, acknowledged):
    process = _builder(settings)
    out, errors = process.communicate(timeout=120)
    assert out.endswith("done\n"), errors
    again = _told(out)
    assert not set(again) & set(acknowledged), "what was loaded before the kill was loaded again"
    store = adapter.open(settings, collection="docs")
    try:
        version = store.versions()[1]
        assert version.state is State.BACKFILLING
        found = store.differences(version)
        assert (found.expected, found.present, found.clean) == (ROWS, ROWS, True)
        _every_vector_is_found_by_itself(store, version)
        finish(store, version)
        assert store.health(version).index_valid
    finally:
        store.close()


def _every_vector_is_found_by_itself(store, version):
    texts = _texts()
    stored = store.vectors(version, list(texts))
    wanted = CANDIDATE.encode_documents(list(texts.values()))
    assert np.allclose(np.stack([stored[id] for id in texts]), wanted, atol=1e-5)
    answers = store.search(version, wanted, 10)
    lost = [id for id, hits in zip(texts, answers, strict=True) if id not in {hit.chunk_id for hit in hits}]
    assert lost == [], (
        f"of which not found by a wider search either: {store._search.lost(store._rows.readable(version), version.metric, lost)}"
    )


KILLS = [pytest.param(3, id="3"), pytest.param(10, id="10", marks=pytest.mark.slow)]


@pytest.mark.parametrize("kills", KILLS)
def test_a_build_killed_at_random_points_resumes_in_a_directory(tmp_path, kills):
    path = tmp_path / "chroma"
    settings = _application(path)
    draw = random.Random(os.getpid())
    acknowledged = []
    for _ in range(kills):
        acknowledged += _kill_after(_builder(settings), draw.randrange(0, max(1, 20 // kills) + 1), draw.random() / 10)
    assert len(acknowledged) == len(set(acknowledged)), f"loaded twice; seed {os.getpid()}"
    _finish_and_check(settings, acknowledged)


@pytest.mark.parametrize("kills", KILLS)
def test_a_build_killed_at_random_points_resumes_on_a_server_that_is_killed_too(tmp_path, kills):
    import chromadb

    server = ChromaServer(tmp_path / "chroma")
    server.start()
    try:
        client = chromadb.HttpClient(host="127.0.0.1", port=server.port)
        create_filled(client, "app", [row(id, text) for id, text in _texts().items()], Metric.COSINE)
        close_client(client)
        settings = {"url": server.url, "source": "app"}
        draw = random.Random(os.getpid())
        acknowledged = []
        for place in range(kills):
            process = _builder(settings)
            if place % 2:
                told = _server_killed_under(process, server, draw)
            else:
                told = _kill_after(process, draw.randrange(0, max(1, 20 // kills) + 1), draw.random() / 10)
            acknowledged += told
        assert len(acknowledged) == len(set(acknowledged)), f"loaded twice; seed {os.getpid()}"
        _finish_and_check(settings, acknowledged)
    finally:
        server.stop()


def _server_killed_under(process, server, draw):
    """Kill the server after some batches; the builder must say that it is unavailable; start the server again."""
    told = []
    for _ in range(draw.randrange(1, 4)):
        line = process.stdout.readline()
        told += line.split()[1:] if line.startswith("loaded") else []
    server.kill()
    rest, errors = process.communicate(timeout=120)
    assert "StoreUnavailable" in errors, errors
    server.start()
    return told + _told(rest)


def test_a_flip_killed_at_any_moment_has_happened_or_not(tmp_path):
    """The flip is one act: after the kill, pointer and states agree, and the same command again ends at the same place."""
    settings = _application(tmp_path / "chroma", {"a": "red apple", "b": "green pear"})
    store = adapter.open(settings, collection="docs")
    store.adopt(CONTROL.model)
    version = store.advance(store.create_version(CANDIDATE.model), State.BACKFILLING, actor="t")
    for chunks in store.pending(version):
        store.load(version, chunks, CANDIDATE.encode_documents([chunk.text for chunk in chunks]))
    finish(store, version)
    store.close()
    code = """
import json, sys
from vecmigrate_chroma import adapter
store = adapter.open(json.loads(sys.argv[1]), collection="docs")
print("go", flush=True)
store.activate(int(sys.argv[2]), expect_epoch=int(sys.argv[3]), actor="op")
"""
    draw = random.Random(os.getpid())
    for epoch in range(1, 4):
        number = epoch % 2
        process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(settings), str(number), str(epoch)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "go\n"
        time.sleep(draw.random() * 0.03)
        process.kill()
        process.communicate()
        store = adapter.open(settings, collection="docs")
        pointer, states = store.pointer(), {v.number: v.state for v in store.versions()}
        assert (pointer.epoch, pointer.active) in {(epoch, 1 - number), (epoch + 1, number)}
        assert states[pointer.active] is State.ACTIVE
        assert states[1 - pointer.active] is not State.ACTIVE
        assert store.activate(number, expect_epoch=epoch, actor="op").epoch == epoch + 1
        assert len([event for event in store.history() if event.kind == "activate"]) == epoch
        store.close()


def test_an_unfinished_version_whose_index_file_was_cut_off_is_built_again(tmp_path, caplog):
    """Chroma writes its index in place: a kill in that moment leaves half a file, which ends the process that reads it, or is an error."""
    path = tmp_path / "chroma"
    settings = _application(path)
    _builder(settings).communicate(timeout=120)
    with contextlib.closing(sqlite3.connect(path / "chroma.sqlite3")) as database:
        query = "SELECT s.id FROM segments s JOIN collections c ON c.id = s.collection WHERE s.scope = 'VECTOR' AND c.name LIKE '%.v1'"
        ((segment,),) = database.execute(query).fetchall()
    file = path / segment / "data_level0.bin"
    os.truncate(file, file.stat().st_size // 2)
    store = adapter.open(settings, collection="docs")
    try:
        with store.operation("build", actor="ann"):
            assert store.differences(store.versions()[1]).n_missing == ROWS
        assert "docs@v1: Chroma's index file was cut off by a kill" in caplog.text
        assert [(e.kind, e.actor) for e in store.history()][-1] == ("repair", "ann")
    finally:
        store.close()
    _finish_and_check(settings, [])


def test_an_unfinished_version_that_can_be_read_keeps_its_rows(tmp_path):
    settings = _application(tmp_path / "chroma")
    _builder(settings).communicate(timeout=120)
    store = adapter.open(settings, collection="docs")
    try:
        with store.operation("build", actor="ann"):
            assert store.differences(store.versions()[1]).clean
        assert "repair" not in {e.kind for e in store.history()}
    finally:
        store.close()
