import inspect

import chromadb.errors
import httpx
import pytest

from vecmigrate.errors import (
    AccessDenied,
    Conflict,
    DataError,
    DiskFull,
    NotFound,
    PreflightRefused,
    StoreError,
    StoreUnavailable,
    VecmigrateError,
    WrongSpace,
)
from vecmigrate_chroma.faults import BY_NAME, translate, translated

EXPECTED = {
    "InvalidDimensionException": WrongSpace,
    "InvalidArgumentError": DataError,
    "IDAlreadyExistsError": DataError,
    "DuplicateIDError": DataError,
    "ChromaAuthError": AccessDenied,
    "AuthorizationError": AccessDenied,
    "InvalidUUIDError": StoreError,
    "InvalidHTTPVersion": PreflightRefused,
    "NotFoundError": NotFound,
    "UniqueConstraintError": Conflict,
    "BatchSizeExceededError": StoreError,
    "VersionMismatchError": PreflightRefused,
    "RateLimitError": StoreUnavailable,
    "QuotaError": StoreError,
    "InternalError": StoreError,
    "ChromaError": StoreError,
}


def _driver_errors():
    return [cls for _, cls in inspect.getmembers(chromadb.errors, inspect.isclass) if issubclass(cls, chromadb.errors.ChromaError)]


def test_every_error_class_of_chromadb_is_mapped_by_name():
    assert {cls.__name__ for cls in _driver_errors()} == set(BY_NAME)


@pytest.mark.parametrize("cls", _driver_errors(), ids=lambda cls: cls.__name__)
def test_a_driver_error_comes_out_as_ours_with_a_hint(cls):
    with pytest.raises(VecmigrateError) as ours, translated("loading"):
        raise cls("went wrong")
    assert type(ours.value) is EXPECTED[cls.__name__]
    assert ours.value.message == "loading: went wrong"
    assert ours.value.hint


@pytest.mark.parametrize(
    "cls",
    [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError, httpx.PoolTimeout],
    ids=lambda cls: cls.__name__,
)
def test_a_connection_that_breaks_is_unavailable(cls):
    assert type(translate(cls("broken"), "loading")) is StoreUnavailable


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (chromadb.errors.InternalError("error returned from database: (code: 13) database or disk is full"), DiskFull),
        (OSError(28, "No space left on device"), DiskFull),
        (chromadb.errors.InternalError("(code: 5) database is locked"), StoreUnavailable),
        (chromadb.errors.InternalError("attempt to write a readonly database"), AccessDenied),
        (chromadb.errors.InternalError("(code: 14) unable to open database file"), AccessDenied),
        (chromadb.errors.InvalidArgumentError("Collection expecting embedding with dimension of 2, got 3"), WrongSpace),
        (ValueError("Could not connect to a Chroma server. Are you sure it is running?"), StoreUnavailable),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), DataError),
        (TypeError("argument 'metadatas'"), StoreError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value)[:30],
)
def test_what_a_class_hides_its_text_tells(error, ours):
    assert type(translate(error, "loading")) is ours


def test_our_own_errors_pass_as_they_are():
    mine = Conflict("mine")
    with pytest.raises(Conflict) as raised, translated("loading"):
        raise mine
    assert raised.value is mine


def test_a_panic_of_the_rust_part_is_a_store_error_and_an_interrupt_stays_one():
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(StoreError, match="index out of bounds"), translated("searching"):
        raise panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), translated("searching"):
        raise KeyboardInterrupt


def test_long_texts_of_the_driver_are_cut():
    assert len(translate(chromadb.errors.InternalError("x" * 10_000), "loading").message) < 400
