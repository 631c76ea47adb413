"""A build in a process of its own, for tests that kill it: `python building.py SETTINGS.json`."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vecmigrate.registry import open_store
from vecmigrate.reindex import build, pipeline
from vecmigrate.testing.encoders import HashingEncoder

ROWS = 3000
OLD = HashingEncoder(32, "old")


class Unhurried(HashingEncoder):
    """Takes a moment for each window, so that there is time to die in."""

    def encode_documents(self, texts: Sequence[str]):
        time.sleep(0.02)
        return super().encode_documents(texts)


NEW = Unhurried(48, "new")


def texts() -> list[str]:
    """Distinct texts of different lengths."""
    return [f"row {i} " + " ".join(f"word{(i * 7 + j) % 500}" for j in range(i % 9)) for i in range(ROWS)]


def say(*words: object) -> None:
    """To whoever watches."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Build version 1 from wherever it stands."""
    pipeline.WINDOW = 25
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    store = open_store(settings.pop("adapter"), settings, collection="docs")
    with store.operation("build", actor="test"):
        store.adopt(OLD.model)
        begun = [v for v in store.versions() if v.number]
        version = begun[0] if begun else store.create_version(NEW.model)
        report = build(store, version, NEW, actor="test", progress=lambda p: say(p.done))
    say("loaded", report.loaded)
    store.close()


if __name__ == "__main__":
    main()
