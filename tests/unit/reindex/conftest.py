"""A small corpus under a hashing encoder, and one to migrate to."""

import pytest

from vecmigrate.store import control_version
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow

TEXTS = {
    "a": "the cat sat on the mat",
    "b": "a dog chased the cat",
    "c": "stock prices fell on monday",
    "d": "the central bank raised rates",
    "e": "goalkeepers save penalties",
}


@pytest.fixture
def old() -> HashingEncoder:
    return HashingEncoder(32, "old")


@pytest.fixture
def new() -> HashingEncoder:
    return HashingEncoder(48, "new", max_tokens=5)


@pytest.fixture
def store(old) -> MemoryStore:
    vectors = old.encode_documents(list(TEXTS.values()))
    rows = [SourceRow(i, t, v) for (i, t), v in zip(TEXTS.items(), vectors, strict=True)]
    store = MemoryStore(rows, dimension=32)
    store.adopt(old.model)
    return store


@pytest.fixture
def version(store, new):
    return store.create_version(new.model)


@pytest.fixture
def control(store, old):
    return control_version(store, old.model)
