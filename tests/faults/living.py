"""Applications and an operator that never rest, in processes of their own, for tests that kill them.

python living.py application SETTINGS.json LOG NUMBER     writes rows of its own and reads; the log has what it tried and what was acknowledged
python living.py operator    SETTINGS.json LOG NUMBER     builds, cuts over, rolls back, retires, again and again, from wherever things stand
python living.py both        SETTINGS.json LOG NUMBER     the two in one process, as a persistent directory needs it
"""

import json
import random
import sys
import threading
import time
from pathlib import Path

from vecmigrate.cutover import Order, move
from vecmigrate.cutover.disposal import UNFINISHED, retire
from vecmigrate.errors import Conflict, StoreError, StoreUnavailable
from vecmigrate.registry import open_store
from vecmigrate.reindex import build
from vecmigrate.serving import LiveIndex
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.versions import GONE, State

ROWS = 300
OWN_IDS = 30
EXACT = 1e-3
OLD, NEW, THIRD = (HashingEncoder(32, name) for name in ("old", "new", "third"))
ENCODERS = FixedEncoders.of(OLD, NEW, THIRD)


def text_of(i: int) -> str:
    """A row that nobody changes."""
    return f"chunk number {i} speaks of topic{i % 97} and of detail{i}"


def opened(settings):
    """The store, when its server answers."""
    while True:
        try:
            return open_store("chroma", settings, collection="docs")
        except StoreUnavailable:
            time.sleep(0.2)


class Log:
    """One line of JSON per fact, in the file before the next thing is done."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def __call__(self, *facts: object) -> None:
        with self._lock:
            self._file.write(json.dumps(facts) + "\n")
            self._file.flush()


def write(collection, log: Log, number: int) -> None:
    """Upsert, change and delete rows of one's own, one after the other; what fails is done again until it is acknowledged."""
    chance, count = random.Random(), 0
    while True:
        count += 1
        id = f"w{number}.{chance.randrange(OWN_IDS)}"
        text = None if chance.random() < 0.2 else f"writer {number} wrote {count} about subject{chance.randrange(10**6)}"
        log("try", id, text)
        while True:
            try:
                collection.delete(ids=[id]) if text is None else collection.upsert(ids=[id], documents=[text], metadatas=[{"count": count}])
                break
            except (StoreUnavailable, StoreError) as error:
                log("failed", type(error).__name__, error.message)
                time.sleep(0.1)
        log("ack", id, text)


def read(collection, log: Log) -> None:
    """Ask for rows that nobody changes. A row at another distance than the version's model gives is of another space; an index may miss
    a row, which is told apart.
    """
    chance = random.Random()
    while True:
        i = chance.randrange(ROWS)
        try:
            found = collection.query(query_texts=[text_of(i)], n_results=1)
        except (StoreUnavailable, StoreError) as error:
            log("unread", type(error).__name__, error.message)
            time.sleep(0.1)
            continue
        model = ENCODERS.by_fingerprint[found.fingerprint]
        right = 1 - float(model.encode_queries([text_of(i)])[0] @ model.encode_documents(found["documents"][0])[0])
        if abs(found["distances"][0][0] - right) > EXACT:
            log("wrong", found.version, f"r{i}", found["ids"], found["distances"], right)
        log("read" if found["ids"] == [[f"r{i}"]] else "missed", found.version)


def operate(store, log: Log) -> None:
    """The next step of build → cutover → rollback → retire, from wherever things stand."""
    while True:
        try:
            with store.operation("living", actor="operator"):
                step(store, log)
        except (Conflict, StoreUnavailable, StoreError) as error:
            log("later", type(error).__name__, error.message)
            time.sleep(0.2)


def step(store, log: Log) -> None:
    """One step."""
    versions, pointer = store.versions(), store.pointer()
    ours = [v for v in versions if v.number and v.state not in GONE]
    unfinished, ready = [v for v in ours if v.state in UNFINISHED - {State.READY}], [v for v in ours if v.state is State.READY]
    if unfinished:
        log("step", "build", build(store, unfinished[0], ENCODERS.encoder_for(unfinished[0]), actor="operator").version.name)
    elif ready:
        done = move(store, ENCODERS, Order(ready[0], pointer.epoch, "operator", "cutover"))
        log("step", "cutover", ready[0].name, done.missing, done.stale)
    elif pointer.active:
        done = move(store, ENCODERS, Order(versions[0], pointer.epoch, "operator", "rollback"))
        log("step", "rollback", "v0", done.missing, done.stale)
    else:
        for gone in [v for v in versions if v.number and v.state in (State.STANDBY, State.RETIRED)]:
            retire(store, gone, actor="operator")
        made = store.create_version((NEW, THIRD)[len(versions) % 2].model, actor="operator")
        log("step", "create", made.name)


def main() -> None:
    """Until it is killed."""
    role, file, path, number = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    settings, log = json.loads(file.read_text(encoding="utf-8")), Log(path)
    threads = []
    if role in ("application", "both"):
        store = opened(settings)
        collection = store.stand_in(LiveIndex(store, ENCODERS))
        threads += [threading.Thread(target=write, args=(collection, log, number)), threading.Thread(target=read, args=(collection, log))]
    if role in ("operator", "both"):
        threads.append(threading.Thread(target=operate, args=(opened(settings), log)))
    for thread in threads:
        thread.daemon = True
        thread.start()
    log("started", role)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
