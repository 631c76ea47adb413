"""The whole at once, in small: readers and writers through 50 flips would take minutes (benchmarks/live.py); 10 show the rules here."""

import importlib.util
import sys
from pathlib import Path

import pytest

from vecmigrate.testing.chroma import ChromaServer

OUT_OF_REACH = 0.02
"""A healthy graph of this size leaves a row or two out of reach; one that two processes wrote to loses 10 % and more."""
FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "live.py"


@pytest.fixture(scope="module")
def live():
    spec = importlib.util.spec_from_file_location("live", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["live"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["live"]


@pytest.fixture
def server(tmp_path):
    running = ChromaServer(tmp_path / "chroma")
    running.start()
    yield running
    running.stop()


def options(live, *more):
    return live.parser().parse_args(["--rows", "300", "--flips", "10", "--pause", "0.15", "--readers", "3", "--writers", "2", *more])


def faultless(live, arguments, seen, flips, problems, missed):
    """Nothing wrong, and enough of everything that something could have been."""
    assert ([x for each in seen for x in each.errors], [x for each in seen for x in each.wrong], problems) == ([], [], [])
    assert len(missed) + sum(len(each.unfound) for each in seen) <= OUT_OF_REACH * 2 * arguments.rows
    reads = [read for each in seen for read in each.reads]
    assert live.late(reads, flips) == []
    assert [epoch for _, epoch, _ in flips] == list(range(2, 12))
    versions = {version for each in seen for version in each.versions}
    assert versions == {"docs@v0", "docs@v1"}
    assert all(each.writes > 0 for each in seen)
    assert len(reads) > 30


def test_readers_and_writers_in_one_process_go_on_through_flips_in_a_directory(live, tmp_path):
    arguments = options(live)
    faultless(live, arguments, *live.run({"path": str(tmp_path / "chroma"), "source": "docs"}, arguments))


def test_three_application_processes_go_on_through_flips_on_a_server(live, server):
    arguments = options(live, "--processes", "3", "--store", "server", "--writers", "1")
    faultless(live, arguments, *live.run({"url": server.url, "source": "docs"}, arguments))


def test_the_check_finds_what_is_missing_stale_or_of_another_model(live, tmp_path):
    settings = {"path": str(tmp_path / "chroma"), "source": "docs"}
    live.fill(settings, 50)
    assert live.check(settings, 50, {}, set()) == []
    import chromadb

    client = chromadb.PersistentClient(settings["path"])
    v1 = client.get_collection("vecmigrate.docs.v1", embedding_function=None)
    v1.delete(ids=["r1"])
    v1.update(ids=["r2"], documents=["another text"], embeddings=live.NEW.encode_documents([live.text_of(2)]))
    v1.update(ids=["r3"], embeddings=live.OLD.encode_documents([live.text_of(3)]))
    client.close()
    found = "\n".join(live.check(settings, 50, {}, set()))
    assert "vecmigrate.docs.v1: 1 missing ['r1']" in found
    assert "vecmigrate.docs.v1: r2 is 'another text'" in found
    assert "vecmigrate.docs.v1: the vector of r3 is not of its text" in found
    assert found.count("\n") == 2
    assert live.unreached(settings) == []


def test_a_read_that_is_late_is_seen(live):
    assert live.late([(10.0, 2), (12.0, 2), (13.0, 3)], [(9.0, 2, 0.1), (11.5, 3, 0.1)]) == [0.5]
