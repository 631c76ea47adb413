import os
import subprocess
import sys
import time

import pytest

from vecmigrate.errors import Conflict, PreflightRefused
from vecmigrate.testing.hooks import CANDIDATE, CONTROL, TEXTS, build, rows_of
from vecmigrate_chroma import adapter
from vecmigrate_chroma.directory import LOCK_FILE, other_processes, refuse_without_room, room_needed

HOLD = """
import sys
from vecmigrate_chroma import adapter
store = adapter.open({"path": sys.argv[1], "source": "app"}, collection="docs")
with store.operation("build", actor="ann"):
    print("held", flush=True)
    sys.stdin.read()
"""
LOOK = """
import sys, chromadb
client = chromadb.PersistentClient(sys.argv[1])
client.get_collection("app").count()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def filled(chroma_directory):
    """A directory with one collection that no process has open."""
    from vecmigrate.testing.chroma import create_filled
    from vecmigrate.versions import Metric

    path, client = chroma_directory
    create_filled(client, "app", rows_of(TEXTS), Metric.COSINE)
    client.close()
    return path


@pytest.fixture
def beside(filled):
    """Another process on the directory, up to the point where it holds it."""
    running = []

    def start(code):
        process = subprocess.Popen([sys.executable, "-c", code, str(filled)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def _open(path):
    return adapter.open({"path": str(path), "source": "app"}, collection="docs")


def test_another_vecmigrate_process_is_a_conflict_that_names_the_holder(filled, beside):
    beside(HOLD)
    store = _open(filled)
    with pytest.raises(Conflict, match=r"ann \(build\)"):
        store.adopt(CONTROL.model)
    assert store.count() == len(TEXTS)
    assert list(store.versions()) == []
    store.close()


def test_a_killed_holder_is_not_in_the_way(filled, beside):
    process = beside(HOLD)
    process.kill()
    process.wait()
    store = _open(filled)
    with store.operation("build", actor="bob"):
        assert store.adopt(CONTROL.model).number == 0
    store.close()


def test_any_other_process_on_the_directory_is_refused_with_the_server_command_to_type(filled, beside):
    process = beside(LOOK)
    store = _open(filled)
    with pytest.raises(PreflightRefused, match=f"{process.pid}") as refused:
        store.adopt(CONTROL.model)
    assert f"chroma run --path {filled}" in refused.value.hint
    assert store.inspect().rows == len(TEXTS)
    process.stdin.close()
    process.wait()
    assert store.adopt(CONTROL.model).number == 0
    store.close()


def test_a_process_that_is_gone_in_a_moment_is_waited_for(filled, beside):
    process = beside(LOOK)
    process.stdin.close()
    store = _open(filled)
    assert store.adopt(CONTROL.model).number == 0
    process.wait()
    store.close()


def test_reading_takes_no_lock(filled):
    store = _open(filled)
    store.inspect()
    list(store.scan())
    assert store.pointer() is None
    assert not (filled / LOCK_FILE).exists()
    store.close()


def test_the_lock_is_given_back_with_the_last_store_of_the_process(filled, beside):
    first, second = _open(filled), _open(filled)
    first.adopt(CONTROL.model)
    second.create_version(CANDIDATE.model)
    first.close()
    code = HOLD.replace("sys.stdin.read()", "sys.exit(0)").replace('print("held", flush=True)', "pass")
    refused = subprocess.run([sys.executable, "-c", code, str(filled)], capture_output=True, text=True, check=False)
    assert f"process {os.getpid()}" in refused.stderr
    second.close()
    beside(HOLD)


def test_two_collections_of_one_directory_are_operated_on_at_once_in_one_process(opened):
    one, other = opened(rows_of(TEXTS), collection="one"), opened(rows_of(TEXTS), source="app2", collection="other")
    with one.operation("build", actor="ann"), other.operation("build", actor="ann"):
        one.adopt(CONTROL.model)
        other.adopt(CONTROL.model)
        build(one)
    assert [len(one.versions()), len(other.versions())] == [2, 1]


def test_other_processes_are_found_by_their_open_files(filled, beside):
    assert other_processes(filled) == []
    process = beside(LOOK)
    assert [pid for pid, _ in other_processes(filled)] == [process.pid]
    assert other_processes(filled / "elsewhere") == []


def test_a_disk_without_room_is_refused_with_the_figures():
    assert room_needed(100_000, 384) == 614_400_000
    refuse_without_room(614_400_000, 100_000, 384, "/data")
    with pytest.raises(PreflightRefused, match=r"100,000 vectors of 384 need about 586 MiB, and 100 MiB are free"):
        refuse_without_room(100 * 2**20, 100_000, 384, "/data")


def test_a_version_that_has_no_room_is_not_begun(opened, monkeypatch):
    store = opened(rows_of(TEXTS))
    store.adopt(CONTROL.model)
    monkeypatch.setattr("vecmigrate_chroma.directory.room_needed", lambda rows, dimension: 2**62)
    with pytest.raises(PreflightRefused, match="7 vectors of 16"):
        store.create_version(CANDIDATE.model)
    assert len(store.versions()) == 1


def test_two_writing_processes_are_what_the_lock_is_for(filled):
    """Without the lock, both would go on and end well, and the index would be damaged: here the second one stops at once."""
    code = """
import sys
from vecmigrate_chroma import adapter
from vecmigrate.testing.hooks import CONTROL
store = adapter.open({"path": sys.argv[1], "source": "app"}, collection=sys.argv[2])
store.adopt(CONTROL.model)
print("held", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(filled)]
    pair = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    until = time.monotonic() + 30
    while time.monotonic() < until and all(process.poll() is None for process in pair):
        time.sleep(0.05)
    ended = [process for process in pair if process.poll() is not None]
    outputs = {process: process.communicate("") for process in pair}
    assert len(ended) >= 1
    assert all("Conflict" in outputs[process][1] or "PreflightRefused" in outputs[process][1] for process in ended)
