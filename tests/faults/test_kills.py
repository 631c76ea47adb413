"""A build that is killed with SIGKILL at random points is finished by running it again: nothing missing, nothing double."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for building: importlib mode adds no folder
import building

from vecmigrate.registry import open_store
from vecmigrate.reindex import verify
from vecmigrate.versions import State

SCRIPT = Path(building.__file__)


@pytest.fixture(params=["pgvector", "chroma"])
def settings(request, tmp_path) -> dict[str, str]:
    """A store with 3,000 rows under the old model."""
    vectors = building.OLD.encode_documents(building.texts())
    if request.param == "chroma":
        return chroma(tmp_path, vectors)
    return postgres(request.getfixturevalue("postgres").create_database(f"kills{random.randrange(10**9)}"), vectors)


def postgres(dsn: str, vectors) -> dict[str, str]:
    import psycopg
    from pgvector.psycopg import register_vector

    with psycopg.connect(dsn) as connection:
        register_vector(connection)
        connection.execute("CREATE TABLE docs (id bigint PRIMARY KEY, body text NOT NULL, embedding vector(32))")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO docs VALUES (%s, %s, %s)", [(i, t, v) for i, (t, v) in enumerate(zip(building.texts(), vectors, strict=True))]
            )
    return {"adapter": "pgvector", "dsn": dsn, "table": "docs", "text": "body", "metric": "cosine"}


def chroma(folder: Path, vectors) -> dict[str, str]:
    import chromadb

    client = chromadb.PersistentClient(str(folder / "chroma"), settings=chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("docs", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    collection.add(ids=[str(i) for i in range(building.ROWS)], documents=building.texts(), embeddings=vectors)
    client.close()
    return {"adapter": "chroma", "path": str(folder / "chroma"), "source": "docs"}


def start(file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(SCRIPT), str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_when(process: subprocess.Popen[str], lines: int, pause: float) -> bool:
    """Wait until it has reported so many windows, a moment more, then SIGKILL. False when it had ended before."""
    for _ in range(lines):
        if not process.stdout.readline():
            break
    time.sleep(pause)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return alive


def check(settings: dict[str, str]) -> None:
    """Every row is there once, under its current text, made by the model, and found by its own vector."""
    options = dict(settings)
    store = open_store(options.pop("adapter"), options, collection="docs")
    version = next(v for v in store.versions() if v.number == 1)
    assert [(v.number, v.state) for v in store.versions()] == [(0, State.ACTIVE), (1, State.READY)]
    found = verify(store, version, building.NEW, sample=200)
    assert (found.problems, found.differences.expected, found.differences.present, found.sampled) == ((), 3000, 3000, 200)
    ids = [str(i) for i in range(0, 3000, 30)]
    queries = building.NEW.encode_documents([building.texts()[int(i)] for i in ids])
    hits = store.search(version, np.ascontiguousarray(queries), 3)
    assert [i for i, h in zip(ids, hits, strict=True) if i not in {x.chunk_id for x in h}] == []
    store.close()


def survive(settings: dict[str, str], folder: Path, kills: int, seed: int) -> int:
    """Kill the build so often, finish it, check the version; how many rows the last run still had to encode."""
    file = folder / "settings.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    chance = random.Random(seed)
    died = sum(kill_when(start(file), chance.randint(0, 60 // kills), chance.random() * 0.1) for _ in range(kills))
    last = start(file)
    out, err = last.communicate(timeout=120)
    assert last.returncode == 0, f"{out[-200:]}\n{err}"
    assert died >= kills - 1, "the builds ended before they could be killed: the test proves nothing"
    check(settings)
    return int(out.splitlines()[-1].split()[1])


def test_a_build_killed_three_times_is_finished_by_running_it_again(settings, tmp_path):
    assert 0 < survive(settings, tmp_path, kills=3, seed=1) < 3000, "the last run encoded everything again, or had nothing to do"


@pytest.mark.slow
def test_a_build_killed_at_ten_random_points_is_finished_by_running_it_again(settings, tmp_path):
    assert 0 < survive(settings, tmp_path, kills=10, seed=2) < 3000, "the last run encoded everything again, or had nothing to do"
