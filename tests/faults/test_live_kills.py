"""Applications, operator and server are killed with SIGKILL at random moments of build, dual-write, cutover and rollback: nothing is lost."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for living: importlib mode adds no folder
import living

from vecmigrate.cutover.disposal import UNFINISHED
from vecmigrate.reindex import build, sync, verify
from vecmigrate.testing.chroma import ChromaServer
from vecmigrate.versions import SEARCHABLE

SCRIPT = Path(living.__file__)
ENOUGH = 20
MISSED_SHARE = 0.02
"""An HNSW index may miss the nearest row now and then, as the application's own does; a damaged one misses many."""


@dataclass
class Play:
    """The processes of one test, and what they write down."""

    settings: dict[str, str]
    folder: Path
    running: dict[str, subprocess.Popen] = field(default_factory=dict)
    starts: Counter = field(default_factory=Counter)

    def start(self, role: str, number: int) -> None:
        file = self.folder / "settings.json"
        file.write_text(json.dumps(self.settings), encoding="utf-8")
        name = f"{role}{number}"
        self.starts[name] += 1
        errors = (self.folder / f"{name}.err").open("ab")
        self.running[name] = subprocess.Popen(
            [sys.executable, str(SCRIPT), role, str(file), str(self.folder / f"{name}.log"), str(number)], stderr=errors
        )
        errors.close()

    def wait_until_started(self) -> None:
        """Every process has said so as often as it was started."""
        until = time.monotonic() + 60
        while time.monotonic() < until and any(
            sum(fact[0] == "started" for fact in self.facts(name)) < count for name, count in self.starts.items()
        ):
            time.sleep(0.05)

    def wait_until_busy(self) -> None:
        """Enough was written and read that something could have been lost or wrong."""
        until = time.monotonic() + 60
        while time.monotonic() < until and any(self.counted(kind) <= ENOUGH for kind in ("ack", "read")):
            time.sleep(0.1)

    def counted(self, kind: str) -> int:
        return sum(fact[0] == kind for name in self.starts for fact in self.facts(name))

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        assert process.poll() is None, f"{name} ended by itself: {(self.folder / f'{name}.err').read_text()[-1500:]}"
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """Of whatever a failed test left running."""
        for process in self.running.values():
            process.kill()
            process.wait()

    def facts(self, name: str) -> list[list]:
        file = self.folder / f"{name}.log"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("]")]


def fill(settings) -> None:
    store_texts = [living.text_of(i) for i in range(living.ROWS)]
    client = connected(settings)
    docs = client.create_collection("docs", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None)
    docs.add(ids=[f"r{i}" for i in range(living.ROWS)], documents=store_texts, embeddings=living.OLD.encode_documents(store_texts))
    close(client)
    store = living.opened(settings)
    store.adopt(living.OLD.model)
    store.close()


def connected(settings):
    import chromadb

    if "path" in settings:
        return chromadb.PersistentClient(settings["path"])
    return chromadb.HttpClient(host="127.0.0.1", port=int(settings["url"].rpartition(":")[2]))


def close(client) -> None:
    from vecmigrate_chroma.driver import close_client

    close_client(client)


def possible(facts: list[list]) -> dict[str, set]:
    """Id → what it may be: what was acknowledged last, or tried after that."""
    found: dict[str, set] = {}
    for kind, *rest in facts:
        if kind == "ack":
            found[rest[0]] = {rest[1]}
        elif kind == "try":
            found.setdefault(rest[0], {None}).add(rest[1])
    return found


def finish(settings) -> None:
    """The operator's own commands, once more, then the proof."""
    store = living.opened(settings)
    with store.operation("finish", actor="test"):
        for version in store.versions():
            if version.number and version.state in UNFINISHED:
                version = build(store, version, living.ENCODERS.encoder_for(version), actor="test").version
            if version.number and version.state in SEARCHABLE:
                sync(store, version, living.ENCODERS.encoder_for(version), actor="test")
    maintained = [v for v in store.versions() if v.state in SEARCHABLE]
    for version in maintained:
        found = verify(store, version, living.ENCODERS.encoder_for(version), sample=1000)
        assert found.problems == (), version.name
        assert found.sampled == store.count()
    assert store.pointer().active in {v.number for v in maintained}
    for version in maintained:
        every_row_is_found(store, version)
    store.close()


def every_row_is_found(store, version) -> None:
    """By its own vector, but for a few that a healthy graph leaves out: counts alone don't show a damaged index."""
    chunks = [chunk for batch in store.scan() for chunk in batch]
    queries = living.ENCODERS.encoder_for(version).encode_documents([chunk.text for chunk in chunks])
    hits = store.search(version, np.ascontiguousarray(queries), 10)
    lost = [chunk.id for chunk, found in zip(chunks, hits, strict=True) if chunk.id not in {hit.chunk_id for hit in found}]
    assert len(lost) <= MISSED_SHARE * len(chunks), (version.name, lost)


def judge(play: Play, numbers: range) -> Counter:
    """The source holds what was acknowledged; nobody was answered from a wrong space. Returns how often each step was done."""
    client = connected(play.settings)
    found = client.get_collection("docs", embedding_function=None).get(include=["documents"])
    close(client)
    there = dict(zip(found["ids"], found["documents"], strict=True))
    assert {i: t for i, t in there.items() if i.startswith("r")} == {f"r{i}": living.text_of(i) for i in range(living.ROWS)}
    every = [fact for name in play.starts for fact in play.facts(name)]
    for number in numbers:
        own = next(facts for facts in map(play.facts, play.starts) if any(f[0] == "ack" and f[1].startswith(f"w{number}.") for f in facts))
        wrong = {id: (there.get(id), may) for id, may in possible(own).items() if there.get(id) not in may}
        assert wrong == {}
    assert [fact for fact in every if fact[0] == "wrong"] == []
    reads, missed = play.counted("read"), play.counted("missed")
    assert min(play.counted("ack"), reads) > ENOUGH
    assert missed <= MISSED_SHARE * reads
    return Counter(fact[1] for fact in every if fact[0] == "step") + Counter(reads=reads, missed=missed)


def on_a_server(folder: Path, faults: int, seed: int) -> Counter:
    """Two applications, an operator and the server, one of the four killed each time."""
    server, chance = ChromaServer(folder / "chroma"), random.Random(seed)
    server.start()
    play = Play({"url": server.url, "source": "docs"}, folder)
    try:
        fill(play.settings)
        cast = [("application", 0), ("application", 1), ("operator", 0)]
        for role, number in cast:
            play.start(role, number)
        play.wait_until_started()
        for _ in range(faults):
            time.sleep(chance.uniform(0.1, 1.2))
            victim = chance.choice([*cast, "server"])
            if victim == "server":
                server.kill()
                server.start()
            else:
                play.kill("{}{}".format(*victim))
                play.start(*victim)
        play.wait_until_busy()
        for name in list(play.running):
            play.kill(name)
        finish(play.settings)
        return judge(play, range(2))
    finally:
        play.end()
        server.stop()


def in_a_directory(folder: Path, faults: int, seed: int) -> Counter:
    """One process that does everything, killed each time."""
    chance = random.Random(seed)
    play = Play({"path": str(folder / "chroma"), "source": "docs"}, folder)
    fill(play.settings)
    try:
        for number in range(faults):
            play.start("both", 0)
            play.wait_until_started()
            time.sleep(chance.uniform(0.2, 3.0))
            if number == faults - 1:
                play.wait_until_busy()
            play.kill("both0")
        finish(play.settings)
        return judge(play, range(1))
    finally:
        play.end()


@pytest.mark.parametrize("place", [on_a_server, in_a_directory])
def test_nothing_is_lost_when_applications_operator_and_server_are_killed(place, tmp_path):
    steps = place(tmp_path, faults=4, seed=1)
    assert steps["build"] + steps["create"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("place", "faults"), [(on_a_server, 60), (in_a_directory, 40)])
def test_nothing_is_lost_in_a_hundred_faults(place, faults, tmp_path):
    steps = place(tmp_path, faults=faults, seed=2)
    assert min(steps[kind] for kind in ("build", "cutover", "rollback", "create")) > 2, steps
