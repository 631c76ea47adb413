"""Applications that read and write all the time through a `VersionedCollection`, while an operator flips the pointer back and forth.

    python benchmarks/live.py [--store directory|server] [--processes 1] [--readers 8] [--writers 2] [--flips 50] [--rows 2000]

Readers ask for rows that nobody changes, by their own text: the nearest must be that row at distance 0, or the answer was mixed from two
spaces. Writers insert, change, re-label and delete rows of their own, remember what was acknowledged, and ask for it at once. Afterwards,
with chromadb alone and the models: the source and both versions hold exactly what was acknowledged, every vector is what its version's model
makes of the text; and how many rows a query by their own vector does not find. A healthy HNSW graph leaves about one row in a thousand out of
reach (plain chromadb does the same, see chroma issue 7758); one that was damaged loses 10 % and more.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vecmigrate.cutover import flip
from vecmigrate.errors import VecmigrateError
from vecmigrate.registry import open_store
from vecmigrate.reindex import build
from vecmigrate.serving import LiveIndex
from vecmigrate.testing.chroma import ChromaServer
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate_chroma.driver import close_client

OLD, NEW = HashingEncoder(64, "old"), HashingEncoder(64, "new")
EXACT = 1e-3
"""Distance below which a row was found by its own text in its own space."""


def text_of(i: int) -> str:
    """The text of a row that nobody changes."""
    return f"chunk number {i} speaks of topic{i % 97} and of detail{i}"


def stand_in(settings: dict[str, Any], ttl: float, queued: bool = False) -> Any:
    """A `VersionedCollection` of its own, as another application would open."""
    store = open_store("chroma", settings, collection="docs")
    return store.stand_in(LiveIndex(store, FixedEncoders.of(OLD, NEW), pointer_ttl=ttl, queued=queued))  # type: ignore[attr-defined]


@dataclass
class Seen:
    """What one application saw. `reads` are (start, epoch) by the system's monotonic clock; `holds` is what was acknowledged, by id."""

    reads: list[tuple[float, int]] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unfound: list[str] = field(default_factory=list)
    writes: int = 0
    seconds: list[float] = field(default_factory=list)
    holds: dict[str, tuple[str, int]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)


def read(collection: Any, rows: int, stop: threading.Event, seen: Seen, seed: int) -> None:
    """Ask for unchanged rows until told to stop."""
    chance = random.Random(seed)
    while not stop.is_set():
        i, start = chance.randrange(rows), time.monotonic()
        try:
            found = collection.query(query_texts=[text_of(i)], n_results=3)
        except Exception as error:
            seen.errors.append(repr(error))
            continue
        seen.reads.append((start, found.epoch))
        seen.versions[found.version] += 1
        if found["ids"][0][:1] != [f"r{i}"] or found["distances"][0][0] > EXACT or found["documents"][0][0] != text_of(i):
            seen.wrong.append(f"{found.version} epoch {found.epoch}: r{i} → {found['ids'][0]} {found['distances'][0]}")


def write(collection: Any, name: str, stop: threading.Event, seen: Seen, seed: int) -> None:
    """Insert, change, re-label, delete; ask for each written row at once."""
    chance, count = random.Random(seed), 0
    while not stop.is_set():
        kind, known = chance.random(), list(seen.holds)
        count += 1
        start = time.monotonic()
        try:
            if kind < 0.5 or not known:
                change(collection, seen, f"{name}.{count}", f"{name} wrote {count} about subject{count}", count)
            elif kind < 0.75:
                change(collection, seen, chance.choice(known), f"{name} changed it at {count} to matter{count}", count)
            elif kind < 0.85:
                id = chance.choice(known)
                collection.update(ids=[id], metadatas=[{"count": count}])
                seen.holds[id] = (seen.holds[id][0], count)
            else:
                id = chance.choice(known)
                collection.delete(ids=[id])
                seen.deleted.add(id)
                del seen.holds[id]
        except Exception as error:
            seen.errors.append(repr(error))
            raise
        seen.seconds.append(time.monotonic() - start)
        seen.writes += 1


def change(collection: Any, seen: Seen, id: str, text: str, count: int) -> None:
    """Upsert and look for it."""
    collection.upsert(ids=[id], documents=[text], metadatas=[{"count": count}])
    seen.holds[id] = (text, count)
    found = collection.query(query_texts=[text], n_results=10)
    if id not in found["ids"][0]:
        seen.unfound.append(f"{found.version}: {id}")


def application(settings: dict[str, Any], arguments: argparse.Namespace, number: int, stop: threading.Event) -> Seen:
    """Readers and writers in threads of this process, over one collection; returns when told to stop."""
    collection, seen = stand_in(settings, arguments.ttl, arguments.queued), Seen()
    writers = [Seen() for _ in range(arguments.writers)]
    threads = [
        threading.Thread(target=read, args=(collection, arguments.rows, stop, seen, 100 * number + i)) for i in range(arguments.readers)
    ]
    threads += [
        threading.Thread(target=write, args=(collection, f"w{number}-{i}", stop, writers[i], 7 * number + i))
        for i in range(arguments.writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for of_writer in writers:
        seen.holds |= of_writer.holds
        seen.deleted |= of_writer.deleted
        seen.errors += of_writer.errors
        seen.unfound += of_writer.unfound
        seen.writes += of_writer.writes
        seen.seconds += of_writer.seconds
    collection.close()
    return seen


def operate(store: Any, flips: int, pause: float) -> list[tuple[float, int, float]]:
    """Flip so often; (when it was done, the epoch it made, its seconds)."""
    done = []
    for _ in range(flips):
        time.sleep(pause)
        pointer = store.pointer()
        made = flip(store, 1 - pointer.active, expect_epoch=pointer.epoch, actor="benchmark", reason="cutover")
        done.append((time.monotonic(), made.after.epoch, made.seconds))
    time.sleep(pause)
    return done


def late(reads: list[tuple[float, int]], flips: list[tuple[float, int, float]]) -> list[float]:
    """Of reads that began after a flip was done and did not see it: by how many seconds."""
    found = []
    for start, epoch in reads:
        missed = [start - done for done, made, _ in flips if made > epoch and start > done]
        if missed:
            found.append(max(missed))
    return found


def connected(settings: dict[str, Any]) -> Any:
    """A client of chromadb's own."""
    import chromadb

    if "path" in settings:
        return chromadb.PersistentClient(settings["path"])
    return chromadb.HttpClient(host="127.0.0.1", port=int(settings["url"].rpartition(":")[2]))


def check(settings: dict[str, Any], rows: int, holds: dict[str, tuple[str, int]], deleted: set[str]) -> list[str]:
    """What is wrong, by chromadb and the models alone."""
    client = connected(settings)
    expected = {f"r{i}": (text_of(i), -1) for i in range(rows)} | holds
    problems = []
    for name, model in (("docs", OLD), ("vecmigrate.docs.v1", NEW)):
        collection = client.get_collection(name, embedding_function=None)
        ids = collection.get(include=[])["ids"]
        if set(ids) != set(expected) or len(ids) != len(expected):
            missing, extra = set(expected) - set(ids), set(ids) - set(expected)
            problems.append(f"{name}: {len(missing)} missing {sorted(missing)[:3]}, {len(extra)} extra {sorted(extra)[:3]}")
        for start in range(0, len(ids), 500):
            problems += differing(collection, model, name, ids[start : start + 500], expected)
    close_client(client)
    return problems + [f"{id} was deleted and is expected" for id in deleted & set(holds)]


def differing(collection: Any, model: HashingEncoder, name: str, ids: list[str], expected: dict[str, tuple[str, int]]) -> list[str]:
    """Texts, labels and vectors that are not what was acknowledged."""
    found = collection.get(ids=ids, include=["documents", "metadatas", "embeddings"])
    wanted = model.encode_documents([expected.get(id, ("?", 0))[0] for id in found["ids"]])
    problems = []
    for id, text, label, vector, right in zip(
        found["ids"], found["documents"], found["metadatas"], found["embeddings"], wanted, strict=True
    ):
        if (text, (label or {}).get("count", -1)) != expected.get(id):
            problems.append(f"{name}: {id} is {text!r} {label}, acknowledged was {expected.get(id)}")
        if not np.allclose(vector, right, atol=1e-5):
            problems.append(f"{name}: the vector of {id} is not of its text")
    return problems


def unreached(settings: dict[str, Any]) -> list[str]:
    """Rows of both versions that a query by their own vector does not find, a wide one neither."""
    client, missed = connected(settings), []
    for name in ("docs", "vecmigrate.docs.v1"):
        collection = client.get_collection(name, embedding_function=None)
        ids = collection.get(include=[])["ids"]
        for width in (10, 1000):
            found = collection.get(ids=ids, include=["embeddings"]) if ids else {"ids": [], "embeddings": []}
            near = [
                hits
                for start in range(0, len(found["ids"]), 100)
                for hits in collection.query(query_embeddings=found["embeddings"][start : start + 100], n_results=width, include=[])["ids"]
            ]
            ids = [id for id, hits in zip(found["ids"], near, strict=True) if id not in hits]
        missed += [f"{name}: {id}" for id in ids]
    close_client(client)
    return missed


def fill(settings: dict[str, Any], rows: int) -> None:
    """The application's collection, and version 1 beside it."""
    client = connected(settings)
    docs = client.create_collection("docs", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    texts = [text_of(i) for i in range(rows)]
    for start in range(0, rows, 2000):
        part = range(start, min(start + 2000, rows))
        vectors = OLD.encode_documents([texts[i] for i in part])
        docs.add(
            ids=[f"r{i}" for i in part], documents=[texts[i] for i in part], embeddings=vectors, metadatas=[{"count": -1} for _ in part]
        )
    close_client(client)
    store = open_store("chroma", settings, collection="docs")
    store.adopt(OLD.model)
    build(store, store.create_version(NEW.model), NEW, actor="benchmark")
    store.close()


def in_processes(settings: dict[str, Any], arguments: argparse.Namespace, store: Any) -> tuple[list[Seen], list[tuple[float, int, float]]]:
    """Applications in processes of their own, stopped by closing their input."""
    command = [sys.executable, __file__, "--worker", json.dumps(settings)]
    options = ["--readers", arguments.readers, "--writers", arguments.writers, "--rows", arguments.rows, "--ttl", arguments.ttl]
    started = [
        subprocess.Popen([*command, "--number", str(n), *map(str, options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(arguments.processes)
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    flips = operate(store, arguments.flips, arguments.pause)
    reports = [json.loads(process.communicate("")[0]) for process in started]
    return [
        Seen(
            **{
                **r,
                "reads": [tuple(x) for x in r["reads"]],
                "versions": Counter(r["versions"]),
                "deleted": set(r["deleted"]),
                "holds": {k: tuple(v) for k, v in r["holds"].items()},
            }
        )
        for r in reports
    ], flips


def worker(arguments: argparse.Namespace) -> None:
    """One application process: runs until its input ends, then prints what it saw."""
    stop = threading.Event()
    result: list[Seen] = []
    running = threading.Thread(
        target=lambda: result.append(application(json.loads(arguments.worker), arguments, arguments.number, stop)), daemon=True
    )
    running.start()
    print("started", flush=True)
    sys.stdin.read()
    stop.set()
    running.join()
    print(json.dumps({**result[0].__dict__, "deleted": sorted(result[0].deleted)}))


def run(settings: dict[str, Any], arguments: argparse.Namespace) -> tuple[list[Seen], list[tuple[float, int, float]], list[str], list[str]]:
    """Fill, let the applications run during the flips, check: what was seen, the flips, problems, and rows out of reach."""
    fill(settings, arguments.rows)
    store = open_store("chroma", settings, collection="docs")
    if arguments.processes > 1:
        applications, flips = in_processes(settings, arguments, store)
    else:
        stop, applications = threading.Event(), []
        running = threading.Thread(target=lambda: applications.append(application(settings, arguments, 0, stop)))
        running.start()
        flips = operate(store, arguments.flips, arguments.pause)
        stop.set()
        running.join()
    store.close()
    holds: dict[str, tuple[str, int]] = {}
    for each in applications:
        holds |= each.holds
    problems = check(settings, arguments.rows, holds, set().union(*(each.deleted for each in applications)))
    return applications, flips, problems, unreached(settings)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--store", choices=["directory", "server"], default="directory")
    options.add_argument("--processes", type=int, default=1)
    options.add_argument("--readers", type=int, default=8, help="threads per process")
    options.add_argument("--writers", type=int, default=2, help="threads per process")
    options.add_argument("--rows", type=int, default=2000)
    options.add_argument("--flips", type=int, default=50)
    options.add_argument("--pause", type=float, default=0.5, help="seconds between flips")
    options.add_argument("--ttl", type=float, default=0.0, help="seconds for which readers remember the pointer")
    options.add_argument("--queued", action="store_true", help="writes return when the source has them")
    options.add_argument("--worker", help=argparse.SUPPRESS)
    options.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    return options


def main() -> None:
    """Run and print."""
    arguments = parser().parse_args()
    if arguments.worker:
        worker(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.store == "server":
            server = ChromaServer(Path(folder) / "chroma")
            server.start()
            try:
                report(arguments, *run({"url": server.url, "source": "docs"}, arguments))
            finally:
                server.stop()
        else:
            report(arguments, *run({"path": str(Path(folder) / "chroma"), "source": "docs"}, arguments))


def report(
    arguments: argparse.Namespace, seen: list[Seen], flips: list[tuple[float, int, float]], problems: list[str], missed: list[str]
) -> None:
    """In a few lines."""
    reads = [r for each in seen for r in each.reads]
    versions: Counter[str] = sum((each.versions for each in seen), Counter())
    seconds = [s for each in seen for s in each.seconds]
    errors, wrong, unfound = ([x for each in seen for x in getattr(each, name)] for name in ("errors", "wrong", "unfound"))
    behind = late(reads, flips)
    print(
        f"{arguments.store}, {arguments.processes} process(es) of {arguments.readers} readers and {arguments.writers} writers, {len(flips)} flips"
    )
    print(f"reads {len(reads)} {dict(versions)}; errors {len(errors)}, wrong {len(wrong)}")
    print(
        f"reads that began after a flip and did not see it: {len(behind)}"
        + (f", by {1000 * max(behind):.0f} ms at most" if behind else "")
        + f" (stated bound: {1000 * arguments.ttl:.0f} ms)"
    )
    print(
        f"writes {sum(each.writes for each in seen)}, p50 {1000 * statistics.median(seconds):.0f} ms; not found at once: {len(unfound)}; "
        f"flip p50 {1000 * statistics.median(s for *_, s in flips):.1f} ms, worst {1000 * max(s for *_, s in flips):.1f} ms"
    )
    rows = arguments.rows + sum(len(each.holds) for each in seen)
    print(
        f"after it: {len(problems)} problems in {rows} rows of each version; out of the index's reach: {len(missed)} of {2 * rows} vectors"
    )
    print(*errors[:3], *wrong[:3], *unfound[:3], *problems[:10], *missed[:5], sep="\n")


if __name__ == "__main__":
    try:
        main()
    except VecmigrateError as error:
        sys.exit(str(error))
