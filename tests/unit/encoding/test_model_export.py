"""A model leaves the workspace whole, is the same model elsewhere, and says nothing of this machine; a hub gets it privately."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from vecmigrate.config import EncodingSection
from vecmigrate.encoding import ModelCatalog, ModelEntry, load_encoder
from vecmigrate.encoding.export import export_model
from vecmigrate.encoding.hub import hub_token, push_folder
from vecmigrate.errors import ModelError, UsageError

from .hub_stand_in import HubStandIn

ONE_THREAD = EncodingSection(threads=1, device="cpu")
HALF = EncodingSection(threads=1, device="cpu", precision="bfloat16")


@pytest.fixture(scope="module")
def model(tiny: Callable[..., Path]) -> Path:
    return tiny(Pooling(16), Normalize())


@pytest.fixture
def trained(tmp_path: Path, model: Path) -> ModelEntry:
    """A model of the workspace, as training registers it."""
    identity = replace(load_encoder(str(model), ONE_THREAD).model, name="tuned", documents="ba5e" * 16)
    files = Path(shutil.copytree(model, tmp_path / "finished"))
    (files / "README.md").write_text("# tuned\n")
    (files / "training_args.bin").write_bytes(b"code could be in it")
    lineage = {"dataset": "d" * 64, "base": {"name": "base", "source": str(model)}, "settings": {"teacher": "/srv/judge"}}
    entry = ModelEntry(identity, str(files), verdict="tuned", lineage=lineage, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    return ModelCatalog(tmp_path / "models").register(entry, files=files)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_copy_is_the_same_model_with_its_card_and_its_record(trained: ModelEntry, tmp_path: Path) -> None:
    made = export_model(trained, tmp_path / "out" / "tuned")
    assert load_encoder(str(made.folder), ONE_THREAD).model.fingerprint == trained.model.fingerprint
    assert SentenceTransformer(str(made.folder), device="cpu").encode(["a"]).shape == (1, 16)
    assert {"README.md", "vecmigrate.json", "modules.json", "model.safetensors"} <= set(names(made.folder))
    assert (made.files, made.size) == (len(names(made.folder)), sum((made.folder / name).stat().st_size for name in names(made.folder)))
    assert (made.folder / "README.md").read_text() == "# tuned\n"


def test_only_what_a_model_is_loaded_from_goes_along(trained: ModelEntry, tmp_path: Path) -> None:
    (Path(trained.path) / "onnx").mkdir()
    (Path(trained.path) / "onnx" / "config.json").write_text("{}")
    (Path(trained.path) / ".cache.json").write_text("{}")
    there = names(export_model(trained, tmp_path / "out").folder)
    assert not [name for name in there if name.endswith(".bin") or name.startswith((".", "onnx"))]


def test_the_record_says_nothing_of_this_machine(trained: ModelEntry, tmp_path: Path) -> None:
    text = (export_model(trained, tmp_path / "out").folder / "vecmigrate.json").read_text()
    told = json.loads(text)
    assert str(tmp_path) not in text
    assert (told["model"]["source"], told["local"]) == ("tuned", True)
    assert told["lineage"]["base"]["source"] == "model"
    assert told["lineage"]["settings"]["teacher"] == "judge"
    assert told["lineage"]["dataset"] == "d" * 64


def test_another_workspace_knows_it_again_with_the_vectors_it_shares(trained: ModelEntry, tmp_path: Path) -> None:
    folder = export_model(trained, tmp_path / "out").folder
    added = ModelCatalog(tmp_path / "elsewhere").add(str(folder), name="theirs", settings=ONE_THREAD)
    assert (added.verdict, added.lineage["dataset"]) == ("tuned", "d" * 64)
    assert (added.model.fingerprint, added.model.documents) == (trained.model.fingerprint, "ba5e" * 16)


def test_at_another_precision_its_documents_are_its_own(trained: ModelEntry, tmp_path: Path) -> None:
    folder = export_model(trained, tmp_path / "out").folder
    assert ModelCatalog(tmp_path / "elsewhere").add(str(folder), settings=HALF).model.documents == ""


def test_with_another_prompt_its_documents_are_its_own(trained: ModelEntry, tmp_path: Path) -> None:
    folder = export_model(trained, tmp_path / "out").folder
    assert ModelCatalog(tmp_path / "elsewhere").add(str(folder), settings=ONE_THREAD, document_prompt="d: ").model.documents == ""


def test_what_its_record_says_of_other_weights_is_not_believed(trained: ModelEntry, tmp_path: Path, tiny: Callable[..., Path]) -> None:
    folder = export_model(trained, tmp_path / "out").folder
    shutil.copy(tiny(Pooling(16), Normalize(), seed=5) / "model.safetensors", folder / "model.safetensors")
    added = ModelCatalog(tmp_path / "elsewhere").add(str(folder), settings=ONE_THREAD)
    assert (added.model.documents, added.verdict) == ("", None)


def test_a_model_from_elsewhere_gets_a_card(tmp_path: Path, model: Path) -> None:
    entry = ModelCatalog(tmp_path / "models").add(str(model), name="stock", settings=ONE_THREAD)
    card = (export_model(entry, tmp_path / "out").folder / "README.md").read_text()
    assert "# stock" in card
    assert entry.model.fingerprint in card


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_is_in_the_way_is_left_alone(trained: ModelEntry, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "out"
    {"folder": place.mkdir, "file": place.touch, "dangling link": lambda: place.symlink_to(tmp_path / "nowhere")}[kind]()
    with pytest.raises(UsageError, match="is there already"):
        export_model(trained, place)
    assert not list(tmp_path.glob(".out*"))


def test_a_model_that_changed_since_leaves_nothing_behind(trained: ModelEntry, tmp_path: Path, tiny: Callable[..., Path]) -> None:
    shutil.copy(tiny(Pooling(16), Normalize(), seed=5) / "model.safetensors", Path(trained.path) / "model.safetensors")
    with pytest.raises(ModelError, match="is no longer the model 'tuned'"):
        export_model(trained, tmp_path / "out")
    assert not list(tmp_path.glob("*out*")) + list(tmp_path.glob(".out*"))


def test_a_full_disk_leaves_nothing_behind(trained: ModelEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ModelError, match="out cannot be written: No space left on device"):
        export_model(trained, tmp_path / "out")
    assert not list(tmp_path.glob(".out*"))


# To a hub.


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandIn]:
    """A hub on this machine, which the environment names; the client is no longer offline."""
    constants = pytest.importorskip("huggingface_hub.constants")
    stand_in = HubStandIn()
    stand_in.start()
    monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield stand_in
    stand_in.stop()


@pytest.fixture
def exported(trained: ModelEntry, tmp_path: Path) -> Path:
    return export_model(trained, tmp_path / "out").folder


def push(folder: Path, *, private: bool = True) -> str:
    return push_folder(folder, "me/tuned", token=hub_token("me/tuned"), private=private, message="tuned")


def test_every_file_arrives_in_a_private_repository(hub: HubStandIn, exported: Path) -> None:
    assert push(exported) == f"{hub.url}/me/tuned"
    assert hub.private == {"me/tuned": True}
    assert {name: content for name, content in hub.files.items() if name != ".gitattributes"} == {
        name: (exported / name).read_bytes() for name in names(exported)
    }
    assert hub.tokens == {"Bearer hf_secret"}


def test_a_public_repository_is_made_when_asked_for(hub: HubStandIn, exported: Path) -> None:
    push(exported, private=False)
    assert hub.private == {"me/tuned": False}


def test_nothing_goes_into_a_repository_that_turns_out_to_be_public(hub: HubStandIn, exported: Path) -> None:
    hub.private["me/tuned"] = False
    with pytest.raises(ModelError, match="me/tuned is public, and a private repository was asked for"):
        push(exported)
    assert hub.files == {}


def test_a_refusal_is_told_without_the_token(hub: HubStandIn, exported: Path) -> None:
    hub.refuses = "the token hf_secret may not write"
    with pytest.raises(ModelError, match="me/tuned could not be uploaded to http") as caught:
        push(exported)
    assert "hf_secret" not in caught.value.message
    assert "HF_TOKEN" in caught.value.hint


def test_without_a_connection_the_hint_says_so(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="could not be uploaded") as caught:
        push_folder(exported, "me/tuned", token="t", private=True, message="m")
    assert caught.value.hint == "unset HF_HUB_OFFLINE, then push again"


@pytest.mark.parametrize("repository", ["tuned", "me/", "/tuned", "me/you/tuned", "me/tu ned", "me/tuned\n", "../x"])
def test_what_is_no_repository_is_refused(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "t")
    with pytest.raises(UsageError, match="is no repository of a hub"):
        hub_token(repository)


def test_a_missing_token_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(UsageError, match="HF_TOKEN is not set") as caught:
        hub_token("me/tuned")
    assert "me/tuned" in caught.value.hint
