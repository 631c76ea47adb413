"""The encoder of a version is the one that made it, or an error; and it is loaded once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sentence_transformers.sentence_transformer.modules import Pooling

from vecmigrate.config import EncodingSection
from vecmigrate.encoding import CatalogEncoders, ModelCatalog, load_encoder, sources
from vecmigrate.errors import ModelError
from vecmigrate.versions import IndexVersion, Metric, ModelVersion, State

ONE_THREAD = EncodingSection(threads=1, device="cpu")


def version_of(model: ModelVersion, number: int = 2) -> IndexVersion:
    return IndexVersion("docs", number, model, Metric.COSINE, State.READY)


@pytest.fixture
def model(tiny: Callable[..., Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny(Pooling(16)), tmp_path / "model"))


@pytest.fixture
def encoders(tmp_path: Path) -> CatalogEncoders:
    return CatalogEncoders(ModelCatalog(tmp_path / "models"), ONE_THREAD)


def double_the_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: value * 2 for name, value in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_versions_encoder_is_loaded_from_its_source(encoders: CatalogEncoders, model: Path) -> None:
    made = load_encoder(str(model), ONE_THREAD)
    found = encoders.encoder_for(version_of(made.model))
    assert found.model.fingerprint == made.model.fingerprint
    assert np.array_equal(found.encode_documents(["x y"]), made.encode_documents(["x y"]))


def test_precision_and_prompts_are_the_versions_not_the_settings(model: Path, tmp_path: Path) -> None:
    half = EncodingSection(threads=1, device="cpu", precision="bfloat16")
    made = load_encoder(str(model), ONE_THREAD, query_prompt="q: ", document_prompt="d: ")
    found = CatalogEncoders(ModelCatalog(tmp_path / "models"), half).encoder_for(version_of(made.model))
    assert found.model == made.model


def test_a_model_that_is_not_what_it_was_is_refused(encoders: CatalogEncoders, model: Path) -> None:
    made = load_encoder(str(model), ONE_THREAD).model
    double_the_weights(model)
    now = load_encoder(str(model), ONE_THREAD).model
    with pytest.raises(ModelError, match=r"is not the model that made docs@v2") as caught:
        encoders.encoder_for(version_of(made))
    assert made.fingerprint[:12] in caught.value.message
    assert now.fingerprint[:12] in caught.value.message


def test_the_catalogs_copy_is_used_where_the_source_has_gone(encoders: CatalogEncoders, model: Path, tmp_path: Path) -> None:
    made = load_encoder(str(model), ONE_THREAD).model
    moved = shutil.move(model, tmp_path / "moved")
    ModelCatalog(tmp_path / "models").add(str(moved), settings=ONE_THREAD)
    assert encoders.encoder_for(version_of(made)).model.fingerprint == made.fingerprint


def test_a_model_that_is_nowhere_is_named(encoders: CatalogEncoders, model: Path) -> None:
    made = load_encoder(str(model), ONE_THREAD).model
    with pytest.raises(ModelError, match="no model directory /nowhere/at/all"):
        encoders.encoder_for(version_of(replace(made, source="/nowhere/at/all")))
    with pytest.raises(ModelError, match="the model that made docs@v2"):
        encoders.encoder_for(version_of(replace(made, source="")))


def count_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    loads: list[str] = []
    real = load_encoder

    def counted(source: str, *args: Any, **kwargs: Any) -> Any:
        loads.append(source)
        return real(source, *args, **kwargs)

    monkeypatch.setattr("vecmigrate.encoding.sentence_transformer.load_encoder", counted)
    return loads


def test_eight_readers_load_a_model_once(encoders: CatalogEncoders, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = version_of(load_encoder(str(model), ONE_THREAD).model)
    loads = count_loads(monkeypatch)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(encoders.encoder_for(version))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len(found) == 8
    assert len({id(encoder) for encoder in found}) == 1


def test_the_least_used_model_is_let_go(encoders: CatalogEncoders, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "KEPT", 2)
    one, two, three = (version_of(load_encoder(str(model), ONE_THREAD, query_prompt=prompt).model) for prompt in ("1", "2", "3"))
    loads = count_loads(monkeypatch)
    for version in (one, two, one, three, one):
        encoders.encoder_for(version)
    assert len(loads) == 3
    encoders.encoder_for(two)
    assert len(loads) == 4


def test_a_failure_to_load_is_not_remembered(encoders: CatalogEncoders, model: Path, tmp_path: Path) -> None:
    version = version_of(load_encoder(str(model), ONE_THREAD).model)
    away = shutil.move(model, tmp_path / "away")
    with pytest.raises(ModelError):
        encoders.encoder_for(version)
    shutil.move(away, model)
    assert encoders.encoder_for(version).model.fingerprint == version.model.fingerprint
