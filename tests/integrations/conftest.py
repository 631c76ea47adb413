"""A shop's Chroma collection as a framework left it, a second version beside it, and the handle that the application holds all along."""

import importlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import chromadb
import numpy as np
import pytest

from vecmigrate.cutover import flip, retire
from vecmigrate.errors import MissingDependency
from vecmigrate.reindex import build
from vecmigrate.serving import LiveIndex
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate_chroma import adapter

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read when haystack is imported; tests use no network

OLD = HashingEncoder(32, "old")
NEW = HashingEncoder(32, "new")
WIDER = HashingEncoder(48, "new")
TEXTS = {
    "return": "how to return a parcel",
    "lost": "what to do when a parcel is lost",
    "invoice": "pay by invoice or by card",
    "hours": "opening hours of the shop",
    "gift": "wrap it as a gift",
}
CONFIG = """
[store]
adapter = "chroma"
collection = "docs"
source = "app"
path = "{path}"

[control]
model = "sentence-transformers/all-MiniLM-L6-v2"
"""


class Pausing:
    """An encoder after whose next query something happens: what befalls between encoding a query and searching with it."""

    def __init__(self, encoder: HashingEncoder) -> None:
        self._encoder = encoder
        self.model = encoder.model
        self.then: Callable[[], object] | None = None

    def encode_queries(self, texts):
        vectors = self._encoder.encode_queries(texts)
        then, self.then = self.then, None
        if then is not None:
            then()
        return vectors

    def encode_documents(self, texts):
        return self._encoder.encode_documents(texts)

    def count_truncated(self, texts):
        return 0


@dataclass(frozen=True)
class Shop:
    """`operator` flips and looks; `collection` is the application's, opened once. v1 is of `new` and ready; v0 serves."""

    operator: Any
    collection: Any
    encoders: dict[int, Pausing]

    @property
    def own(self) -> Any:
        """The application's collection as chromadb has it."""
        return self.operator._source.open().handle

    def flip(self, target: int) -> None:
        flip(self.operator, target, expect_epoch=self.operator.pointer().epoch, actor="operator", reason="cutover")

    def retire(self, number: int) -> None:
        retire(self.operator, self.version(number), actor="operator")

    def version(self, number: int) -> Any:
        return next(version for version in self.operator.versions() if version.number == number)

    def after_the_next_query(self, number: int, then: Callable[[], object]) -> None:
        """Once this version's model has encoded a query, and before anything is searched with it."""
        self.encoders[number].then = then

    def distances(self, number: int, query: str) -> dict[str, float]:
        """Text → cosine distance by this version's model alone; of every text that there is."""
        texts = self.collection.get(include=["documents"])["documents"]
        model = self.encoders[number]
        found = 1 - model.encode_documents(texts) @ model.encode_queries([query])[0]
        return dict(zip(texts, map(float, found), strict=True))

    def in_step(self) -> bool:
        """v1 has exactly the source's texts, and v0's own vectors are its model's."""
        rows = self.own.get(include=["documents", "embeddings"])
        own = dict(zip(rows["documents"], rows["embeddings"], strict=True))
        alike = all(np.allclose(vector, self.encoders[0].encode_documents([text])[0], atol=1e-5) for text, vector in own.items())
        return bool(self.operator.differences(self.version(1)).clean and alike)


@pytest.fixture(scope="module")
def described():
    """(id, text) → the metadata of a row, as the framework had written it before vecmigrate came."""
    return lambda id, text: {"words": len(text.split())}


@pytest.fixture(scope="module")
def built(tmp_path_factory, described):
    """built(new) → a directory with the application's collection, adopted, and v1 beside it; for tests to copy."""

    @cache
    def make(new):
        path = tmp_path_factory.mktemp("built") / "chroma"
        client = chromadb.PersistentClient(path)
        collection = client.create_collection("app", embedding_function=None, configuration={"hnsw": {"space": "cosine"}})
        texts = list(TEXTS.values())
        metadatas = [described(id, text) for id, text in TEXTS.items()]
        collection.add(ids=list(TEXTS), documents=texts, embeddings=OLD.encode_documents(texts), metadatas=metadatas)
        client.close()
        store = adapter.open({"path": str(path), "source": "app"}, collection="docs")
        store.adopt(OLD.model)
        build(store, store.create_version(new.model), new, actor="operator")
        store.close()
        return path

    return make


@pytest.fixture
def configured(tmp_path, built):
    """configured(new=…) → the path of a vecmigrate.toml beside its collection's directory. Nothing is open."""

    def make(new=NEW):
        path, config = tmp_path / "chroma", tmp_path / "vecmigrate.toml"
        shutil.copytree(built(new), path)
        config.write_text(CONFIG.format(path=path), encoding="utf-8")
        return config

    return make


@pytest.fixture
def shop(configured):
    """shop(new=…) → `Shop`."""
    open_stores = []

    def make(new=NEW):
        settings = {"path": str(configured(new).parent / "chroma"), "source": "app"}
        operator, other = (adapter.open(settings, collection="docs") for _ in range(2))
        open_stores.extend((operator, other))
        encoders = {0: Pausing(OLD), 1: Pausing(new)}
        return Shop(operator, other.stand_in(LiveIndex(other, FixedEncoders.of(*encoders.values()))), encoders)

    yield make
    for store in open_stores:
        store.close()


@pytest.fixture(params=[NEW, WIDER], ids=["same dimension", "another dimension"])
def either(request, shop):
    """A `Shop` for each kind of new model."""
    return shop(request.param)


@pytest.fixture
def without(monkeypatch):
    """without(package, module) → what importing our module says when the package is not installed."""

    def attempt(package, module):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, module, raising=False)
        with pytest.raises(MissingDependency) as refused:
            importlib.import_module(module)
        return refused.value

    return attempt
