"""Chroma's and the connection's exceptions as ours: nothing of a driver leaves the adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

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

BY_NAME: Mapping[str, tuple[type[VecmigrateError], str]] = {
    "InvalidDimensionException": (WrongSpace, "the vectors are of another model"),
    "InvalidArgumentError": (DataError, "Chroma refuses these values"),
    "IDAlreadyExistsError": (DataError, "each id once"),
    "DuplicateIDError": (DataError, "each id once"),
    "ChromaAuthError": (AccessDenied, "check the token in the variable that headers_env names"),
    "AuthorizationError": (AccessDenied, "check the token in the variable that headers_env names"),
    "InvalidUUIDError": (StoreError, "vecmigrate doctor looks at the store"),
    "InvalidHTTPVersion": (PreflightRefused, "use a Chroma server of version 1.0 or later"),
    "NotFoundError": (NotFound, "check source, tenant and database in [store]"),
    "UniqueConstraintError": (Conflict, "another operation made it first; run the command again"),
    "BatchSizeExceededError": (StoreError, "the server takes smaller batches than it says"),
    "VersionMismatchError": (PreflightRefused, "use the same chromadb version as the server"),
    "RateLimitError": (StoreUnavailable, "the server asks for fewer requests; run the command again"),
    "QuotaError": (StoreError, "the server's quota is used up"),
    "InternalError": (StoreError, "the server's log says more"),
    "ChromaError": (StoreError, "the server's log says more"),
}
"""Every error class of chromadb.errors, what it becomes, and the hint. What InternalError hides is told by its text."""

_CUT_OFF = (
    "Chroma's index file is cut off, as by a kill while it was written; if it is a version's: vecmigrate shadow drop, then build anew"
)

BY_TEXT: tuple[tuple[str, type[VecmigrateError], str], ...] = (
    ("is full", DiskFull, "free disk space; `chroma vacuum` gives back what dropped collections held"),
    ("No space left", DiskFull, "free disk space; `chroma vacuum` gives back what dropped collections held"),
    ("database is locked", StoreUnavailable, "another process is writing; a Chroma server is for several"),
    ("readonly database", AccessDenied, "the directory must be writable for this user"),
    ("unable to open database file", AccessDenied, "the directory must be readable and writable for this user"),
    ("Permission denied", AccessDenied, "the directory must be readable and writable for this user"),
    ("file is not a database", StoreError, "chroma.sqlite3 is damaged; restore it from a backup"),
    ("Could not connect to a Chroma server", StoreUnavailable, "start it, or check url in [store]"),
    ("Error getting embedding", StoreError, _CUT_OFF),
    ("Error loading hnsw index", StoreError, _CUT_OFF),
    ("expecting embedding with dimension", WrongSpace, "the vectors are of another model"),
)


def translate(error: BaseException, what: str) -> VecmigrateError:
    """The error of ours that stands for `error`, which happened while doing `what`."""
    if isinstance(error, VecmigrateError):
        return error
    text = " ".join(str(error).split())[:300]
    for mark, kind, hint in BY_TEXT:
        if mark in text:
            return kind(f"{what}: {text}", hint=hint)
    if isinstance(error, httpx.TransportError):
        return StoreUnavailable(
            f"{what}: the Chroma server does not answer ({type(error).__name__})", hint="start it, or check url in [store]"
        )
    if isinstance(error, UnicodeError):
        return DataError(f"{what}: a text is not valid Unicode", hint="mend the row at its source")
    kind, hint = _by_class(error)
    return kind(f"{what}: {text or type(error).__name__}", hint=hint)


def _by_class(error: BaseException) -> tuple[type[VecmigrateError], str]:
    for cls in type(error).__mro__:
        if cls.__name__ in BY_NAME and cls.__module__ == "chromadb.errors":
            return BY_NAME[cls.__name__]
    return StoreError, "the server's log says more"


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Whatever the driver raises inside comes out as ours. A panic of its Rust part too, which is no `Exception`."""
    try:
        yield
    except VecmigrateError:
        raise
    except Exception as error:
        raise translate(error, what) from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise translate(error, what) from error
        raise


def refuse_status(response: httpx.Response) -> None:
    """A response hook: statuses that chromadb would report by their page's text alone."""
    if response.status_code in (401, 403):
        raise AccessDenied(
            f"the Chroma server answers {response.status_code}", hint="check the token in the variable that headers_env names"
        )
    if response.status_code in (502, 503, 504):
        raise StoreUnavailable(f"the Chroma server's gateway answers {response.status_code}", hint="wait until the server is up")
