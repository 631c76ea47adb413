"""`models`: what the list and a model's page say, and that a model leaves the workspace only as asked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vecmigrate.cli.catalog import models_command
from vecmigrate.cli.session import Session
from vecmigrate.encoding import ModelEntry
from vecmigrate.errors import ModelError, UsageError
from vecmigrate.versions import ModelVersion

BASE = ModelVersion("base", "ba5e" * 16, "hub/base", 384, 256)
LINEAGE: dict[str, Any] = {
    "rung": "adapter",
    "base": {"name": "base", "fingerprint": "ba5e" * 16, "source": "hub/base"},
    "dataset": "d" * 64,
    "collection": "docs",
    "data": {"pairs": 1200, "negatives": 1, "max_tokens": 128, "notes": ["3 pairs left out: no text, or no trust in them"]},
    "scores": {
        "measure": "nDCG@10",
        "queries": 120,
        "pool": 2000,
        "base": 0.41,
        "tuned": 0.52,
        "difference": 0.1,
        "interval": [0.06, 0.14],
        "own_difference": 0.08,
        "own_interval": [0.03, 0.12],
        "confidence": 0.95,
    },
    "probe": {"measure": "nDCG@10", "queries": 60, "base": 0.9, "tuned": 0.895, "margin": 0.01},
    "slices": {"short": {"queries": 40, "difference": -0.05, "interval": [-0.09, -0.01], "worse": True}},
    "reasons": [],
    "choice": {
        "attempts": [
            {"loss": "ranking", "learning_rate": 1e-4, "epochs": 2, "dev": 0.52, "step": 24, "steps": 48, "seconds": 31.2, "notes": []}
        ],
        "mean_of": 2,
        "share": 0.8,
    },
    "needs": "re-embeds nothing where stock serves: it searches that model's vectors",
    "libraries": {"torch": "2.9.0"},
}
TUNED = ModelEntry(
    replace(BASE, name="base-tuned", fingerprint="cafe" * 16, documents="ba5e" * 16),
    "hub/tuned",
    verdict="tuned",
    lineage=LINEAGE,
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
)
KEPT = replace(
    TUNED,
    model=replace(TUNED.model, name="kept", fingerprint="f00d" * 16, documents=""),
    verdict="keep base",
    lineage={**LINEAGE, "rung": "full", "reasons": ["no sure gain on the dev queries: +0.003 [-0.010, +0.016]"], "slices": {}, "probe": {}},
    created_at=datetime(2026, 1, 3, tzinfo=UTC),
)


class Workspace:
    """A configured folder with three models, and a way to type `models` verbs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "vecmigrate.toml").write_text('[store]\nadapter = "none"\n[control]\nmodel = "hub/base"\n', encoding="utf-8")
        for entry in (ModelEntry(BASE, "hub/base", created_at=datetime(2026, 1, 1, tzinfo=UTC)), TUNED, KEPT):
            self.session().catalog.register(entry)

    def session(self, **options: Any) -> Session:
        return Session(config_path=self.folder / "vecmigrate.toml", **options)

    def run(self, *arguments: str, **options: Any) -> Result:
        done = CliRunner().invoke(models_command, list(arguments), obj=self.session(**options), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done

    def lines(self, *arguments: str, **options: Any) -> list[str]:
        return [line.strip() for line in self.run(*arguments, **options).stdout.splitlines()]

    def row(self, name: str) -> str:
        return next(" ".join(line.split()) for line in self.lines("list") if line.startswith(name + " "))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("COLUMNS", "200")
    return Workspace(tmp_path)


def test_the_list_shows_rung_gain_and_verdict(workspace: Workspace) -> None:
    assert workspace.row("base") == "base ba5eba5eba5e 384 float32 hub/base"
    assert workspace.row("base-tuned") == "base-tuned cafecafecafe 384 float32 adapter +0.100 [+0.060, +0.140] tuned hub/base"
    assert workspace.row("kept") == "kept f00df00df00d 384 float32 full +0.100 [+0.060, +0.140] keep base hub/base"


def test_an_empty_workspace_says_so(tmp_path: Path) -> None:
    (tmp_path / "vecmigrate.toml").write_text('[store]\nadapter = "none"\n[control]\nmodel = "hub/base"\n', encoding="utf-8")
    done = CliRunner().invoke(models_command, ["list"], obj=Session(config_path=tmp_path / "vecmigrate.toml"), catch_exceptions=False)
    assert done.stdout.splitlines() == ["no models yet", "next: vecmigrate train"]


def test_a_trained_models_page_reads_as_its_card(workspace: Workspace) -> None:
    shown = [" ".join(line.split()) for line in workspace.lines("show", "base-tuned")]
    for line in (
        f"fingerprint {'cafe' * 16}",
        "vectors 384 dimensions, float32, texts up to 256 tokens",
        "prompts query '', document ''",
        "documents shares the document vectors of base, ba5eba5eba5e: nothing is re-embedded",
        "added 2026-01-02 00:00 UTC",
        "verdict tuned",
        "tuned adapter, a matrix on the query side",
        "from base, ba5eba5eba5e",
        "dataset dddddddddddd of docs",
        "trained on 1,200 pairs with 1 hard negative(s), cut at 128 tokens",
        "3 pairs left out: no text, or no trust in them",
        "attempt ranking, rate 0.0001, 2 epochs: dev 0.520 at step 24 of 48, 31 s",
        "weights the mean of 2 attempts",
        "weights 80% of the way from the base to the tuned ones",
        "a cutover re-embeds nothing where stock serves: it searches that model's vectors",
        "dev nDCG@10 (120 queries) 0.410 0.520 +0.100 [+0.060, +0.140]",
        "without what popularity finds +0.080 [+0.030, +0.120]",
        "general probe (60 queries) 0.900 0.895 -0.005",
        "slice short (40) worse -0.050 [-0.090, -0.010]",
        "next: vecmigrate shadow build --model base-tuned",
    ):
        assert line in shown, line
    assert not any("[]" in line or "{" in line for line in shown)


def test_a_refused_models_page_says_why(workspace: Workspace) -> None:
    shown = [" ".join(line.split()) for line in workspace.lines("show", "kept")]
    assert "because no sure gain on the dev queries: +0.003 [-0.010, +0.016]" in shown
    assert "documents vectors of its own: a version of it embeds every chunk" in shown


def test_a_model_from_elsewhere_has_no_verdict(workspace: Workspace) -> None:
    assert "verdict        none: not trained by vecmigrate" in workspace.lines("show", "base")


def test_shared_vectors_of_a_model_that_is_not_here_are_named_all_the_same(workspace: Workspace) -> None:
    strange = replace(TUNED, model=replace(TUNED.model, name="strange", fingerprint="beef" * 16, documents="5eed" * 16))
    workspace.session().catalog.register(strange)
    assert any("the model 5eed5eed5eed, which is not here" in line for line in workspace.lines("show", "strange"))


def test_a_record_with_fewer_figures_is_shown(workspace: Workspace) -> None:
    bare = replace(TUNED, model=replace(TUNED.model, name="bare", fingerprint="beef" * 16), lineage={"dataset": "d" * 64})
    workspace.session().catalog.register(bare)
    assert "verdict        tuned" in workspace.lines("show", "bare")
    assert workspace.row("bare") == "bare beefbeefbeef 384 float32 tuned hub/base"


# Out of the workspace.


@pytest.fixture
def here(workspace: Workspace, tmp_path: Path, tiny: Any) -> Workspace:
    """With a model whose files are on this machine."""
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    workspace.session().catalog.add(str(tiny(Pooling(16), Normalize())), name="tiny", settings=workspace.session().config.encoding)
    return workspace


def test_export_writes_a_directory_and_says_how_to_go_on(here: Workspace, tmp_path: Path) -> None:
    told = json.loads(here.run("export", "tiny", str(tmp_path / "out"), as_json=True).stdout)
    assert (told["folder"], told["next"]) == (str(tmp_path / "out"), f"vecmigrate models add {tmp_path / 'out'}, in another workspace")
    assert told["files"] == len([path for path in (tmp_path / "out").rglob("*") if path.is_file()])
    with pytest.raises(UsageError, match="is there already"):
        here.run("export", "tiny", str(tmp_path / "out"))


def test_a_prompt_that_is_in_the_record_alone_is_told(here: Workspace, tmp_path: Path) -> None:
    session = here.session()
    session.catalog.ensure("tiny", name="prompted", settings=session.config.encoding, query_prompt="find: ")
    assert "its query prompt was given when it was added, and is in the record alone: name it again" in here.lines(
        "export", "prompted", str(tmp_path / "out")
    )


def test_nothing_is_uploaded_without_agreement(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("vecmigrate.encoding.hub.push_folder", lambda *args, **kwargs: pytest.fail("uploaded"))
    with pytest.raises(UsageError, match="this uploads a model, and there is no terminal to ask"):
        here.run("push", "tiny", "me/tiny")
    assert not list((here.folder / ".vecmigrate" / "models").glob(".push-*"))


def test_a_token_is_asked_for_before_anything_is_copied(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(UsageError, match="HF_TOKEN is not set"):
        here.run("push", "tiny", "me/tiny", yes=True)


@pytest.mark.parametrize(("options", "private"), [([], True), (["--public"], False)])
def test_what_is_agreed_to_is_uploaded_privately_unless_asked(
    here: Workspace, monkeypatch: pytest.MonkeyPatch, options: list[str], private: bool
) -> None:
    sent: dict[str, Any] = {}

    def uploader(folder: Path, repository: str, **told: Any) -> str:
        sent.update(told, repository=repository, files=sorted(path.name for path in folder.iterdir()))
        return "https://hub.example/me/tiny"

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    monkeypatch.setattr("vecmigrate.encoding.hub.push_folder", uploader)
    done = here.run("push", "tiny", "me/tiny", *options, yes=True)
    assert (sent["repository"], sent["private"], sent["token"]) == ("me/tiny", private, "hf_secret")
    assert {"vecmigrate.json", "README.md", "model.safetensors"} <= set(sent["files"])
    assert "tiny is at https://hub.example/me/tiny" in done.stdout
    assert "hf_secret" not in done.output
    assert ("readable by anybody" in done.stderr) is not private


def test_pushing_a_model_that_training_refused_is_warned_of(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    session = here.session()
    tiny = session.catalog.get("tiny")
    refused = replace(tiny, model=replace(tiny.model, name="refused"), verdict="keep base", lineage=LINEAGE)
    session.catalog.register(refused)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("vecmigrate.encoding.hub.push_folder", lambda *args, **kwargs: "https://hub.example/me/refused")
    assert "caution: its verdict is keep base" in here.run("push", "refused", "me/refused", yes=True).stderr
    assert "caution" not in here.run("push", "tiny", "me/tiny", yes=True).stderr


def test_an_unknown_model_is_answered_with_what_there_is(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model 'nobody'; there are: base, base-tuned, kept"):
        workspace.run("export", "nobody", str(tmp_path / "out"))
