"""From settings to a connected store, with everything refused that could harm.

A missing directory is never created, an older one never migrated in passing, a server that is too old never written to.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from vecmigrate.errors import NotFound, PreflightRefused, StoreError
from vecmigrate.retrying import retry_transient
from vecmigrate.store import Store
from vecmigrate_chroma.directory import Directory
from vecmigrate_chroma.driver import Driver, sessions_of
from vecmigrate_chroma.faults import refuse_status, translated
from vecmigrate_chroma.lease import ServerLease
from vecmigrate_chroma.naming import kept_name
from vecmigrate_chroma.settings import ChromaSettings, read_settings

DATABASE_FILE = "chroma.sqlite3"
CONNECT_SECONDS = 10.0


def open_store(settings: Mapping[str, Any], *, collection: str) -> Store:
    """Connect to the application's collection. Raises what `vecmigrate.store.Adapter.open` says."""
    from vecmigrate_chroma.store import ChromaStore

    read = read_settings(settings)
    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    driver = _server(read) if read.url else _directory(read)
    try:
        if driver.find(read.source) is None and driver.find(kept_name(collection)) is None:
            there = ", ".join(sorted(name for name in driver.names("") if not name.startswith("vecmigrate."))) or "none"
            raise NotFound(f"there is no collection {read.source!r} in {driver.place}", hint=f"check source; there are: {there}")
        guard = ServerLease(driver, collection) if driver.server else Directory(Path(driver.place), collection)
        return ChromaStore(driver, guard, read, collection)
    except BaseException:
        driver.close()
        raise


def _directory(settings: ChromaSettings) -> Driver:
    if settings.path is None or not (settings.path / DATABASE_FILE).is_file():
        raise NotFound(f"{settings.path} is not a Chroma directory", hint=f"path is the folder that holds {DATABASE_FILE}")
    import chromadb
    from chromadb.config import Settings

    with translated(f"opening {settings.path}"):
        where, chosen = _as_opened_here(settings.path)
        if chosen is None:
            _refuse_an_older_directory(where, settings)
            chosen = Settings()
        client = chromadb.PersistentClient(where, settings=chosen, tenant=settings.tenant, database=settings.database)
    return Driver(client, str(settings.path.resolve()), server=False)


def _as_opened_here(path: Path) -> tuple[str, Any | None]:
    """How this process has the directory open already: two spellings of one path would be two writers to chromadb."""
    from chromadb.api.shared_system_client import SharedSystemClient

    for spelling, system in dict(SharedSystemClient._identifier_to_system).items():
        if system.settings.is_persistent and Path(spelling).resolve() == path.resolve():
            return spelling, system.settings.model_copy() if hasattr(system.settings, "model_copy") else system.settings.copy()
    return str(path.resolve()), None


def _refuse_an_older_directory(where: str, settings: ChromaSettings) -> None:
    import chromadb
    from chromadb.config import Settings

    try:
        with translated(f"opening {where}"):
            check = Settings(migrations="validate")
            client: Any = chromadb.PersistentClient(where, settings=check, tenant=settings.tenant, database=settings.database)
            client.close()
    except StoreError as error:
        if "migration" not in error.message:
            raise
        raise PreflightRefused(
            f"{where} was written by another version of chromadb ({error.message})",
            hint="opening it would change it for good: back it up, open it once with the chromadb that you mean to use, then come again",
        ) from None


def _server(settings: ChromaSettings) -> Driver:
    url, headers = settings.url or "", settings.headers()
    retry_transient(lambda: _refuse_an_older_server(url, headers))
    import chromadb
    from chromadb.config import Settings

    parts = urlsplit(url)
    secure = parts.scheme == "https"

    def connect() -> Any:
        with translated(f"connecting to {url}"):
            chosen = Settings() if secure else Settings(chroma_server_ssl_verify=False)  # nothing to verify: spares loading certificates
            return chromadb.HttpClient(
                host=parts.hostname or "",
                port=parts.port or (443 if secure else 8000),
                ssl=secure,
                headers=dict(headers),
                settings=chosen,
                tenant=settings.tenant,
                database=settings.database,
            )

    client = retry_transient(connect)
    for session in sessions_of(client):
        session.timeout = httpx.Timeout(settings.timeout, connect=min(CONNECT_SECONDS, settings.timeout))
        session.event_hooks["response"].append(refuse_status)
    return Driver(client, url, server=True)


def _refuse_an_older_server(url: str, headers: Mapping[str, str]) -> None:
    with translated(f"connecting to {url}"), httpx.Client(headers=headers, timeout=CONNECT_SECONDS, verify=url.startswith("https")) as http:
        answer = http.get(f"{url}/api/v2/version")
        refuse_status(answer)
        if answer.status_code == 200 and _major(answer.text) >= 1:
            return
        old = http.get(f"{url}/api/v1/version")
    if old.status_code == 200 and _major(old.text) == 0:
        raise PreflightRefused(f"the Chroma server at {url} is version {old.text.strip()[:20]}", hint="version 1.0 or later is needed")
    raise StoreError(f"what answers at {url} is not a Chroma server", hint="check url in [store]")


def _major(text: str) -> int:
    first = text.strip().strip('"').split(".")[0]
    return int(first) if first.isascii() and first.isdigit() else -1
