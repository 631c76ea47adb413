import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from vecmigrate.errors import AccessDenied, NotFound, PreflightRefused, StoreError, StoreUnavailable, UsageError
from vecmigrate.store import Adapter, Capability, Store
from vecmigrate.testing.chroma import free_port
from vecmigrate.testing.hooks import CONTROL, rows_of
from vecmigrate_chroma import adapter
from vecmigrate_chroma.settings import read_settings


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({}, "source"),
        ({"source": "app"}, "either path"),
        ({"source": "app", "path": "x", "url": "http://localhost:8000"}, "either path"),
        ({"source": "app", "path": "x", "colour": "red"}, "colour"),
        ({"source": "", "path": "x"}, "source"),
        ({"source": "app", "url": "localhost:8000"}, "http://host:port"),
        ({"source": "app", "url": "http://localhost:8000/api"}, "http://host:port"),
        ({"source": "app", "path": "x", "headers_env": "T"}, "goes with url"),
        ({"source": "app", "path": "x", "timeout": 0}, "timeout"),
    ],
)
def test_settings_that_cannot_be_read_name_the_key(settings, complaint):
    with pytest.raises(UsageError, match=complaint):
        read_settings(settings)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(UsageError) as refused:
        read_settings({"source": "app", "url": "http://me:s3cret@localhost:8000"})
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        ("tok", {"Authorization": "Bearer tok", "X-Chroma-Token": "tok"}),
        ('{"Authorization": "Basic abc"}', {"Authorization": "Basic abc"}),
    ],
)
def test_headers_come_from_the_environment(monkeypatch, value, headers):
    monkeypatch.setenv("CHROMA_TOKEN", value)
    assert read_settings({"source": "a", "url": "http://h:1", "headers_env": "CHROMA_TOKEN"}).headers() == headers


@pytest.mark.parametrize("value", ["", "{s3cret"])
def test_headers_that_cannot_be_read_name_the_variable_and_not_its_value(monkeypatch, value):
    monkeypatch.setenv("CHROMA_TOKEN", value)
    with pytest.raises(UsageError, match="CHROMA_TOKEN") as refused:
        read_settings({"source": "a", "url": "http://h:1", "headers_env": "CHROMA_TOKEN"}).headers()
    assert "s3cret" not in str(refused.value)


def test_the_adapter_is_one_and_imports_no_driver():
    typed: Adapter = adapter
    assert typed.name == "chroma"
    code = "import sys, vecmigrate_chroma; sys.exit('chromadb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_directory_is_not_created(tmp_path):
    with pytest.raises(NotFound, match="not a Chroma directory"):
        adapter.open({"path": str(tmp_path / "typo"), "source": "app"}, collection="docs")
    assert not (tmp_path / "typo").exists()


def test_a_missing_collection_is_not_created(chroma_directory):
    path, client = chroma_directory
    client.create_collection("app")
    with pytest.raises(NotFound, match="'typo'"):
        adapter.open({"path": str(path), "source": "typo"}, collection="docs")
    assert [found.name for found in client.list_collections()] == ["app"]


def _dump(path):
    """All of the database but the table that Chroma takes its write lock with."""
    database = sqlite3.connect(path / "chroma.sqlite3")
    try:
        return [line for line in database.iterdump() if "acquire_write" not in line]
    finally:
        database.close()


@pytest.mark.parametrize("key", ["tenant", "database"])
def test_a_missing_tenant_or_database_is_not_found(chroma_directory, key):
    path, client = chroma_directory
    client.create_collection("app")
    with pytest.raises(NotFound, match="nowhere"):
        adapter.open({"path": str(path), "source": "app", key: "nowhere"}, collection="docs")


def test_a_damaged_database_is_said_to_be_one(tmp_path):
    (tmp_path / "chroma.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        adapter.open({"path": str(tmp_path), "source": "app"}, collection="docs")


def test_a_directory_of_an_older_chroma_is_refused_and_not_migrated(chroma_directory, tmp_path):
    path, client = chroma_directory
    client.create_collection("app")
    older = tmp_path / "older"
    shutil.copytree(path, older)
    with sqlite3.connect(older / "chroma.sqlite3") as database:
        database.execute(
            "DELETE FROM migrations WHERE dir = 'sysdb' AND version = (SELECT max(version) FROM migrations WHERE dir = 'sysdb')"
        )
    database.close()
    before = _dump(older)
    with pytest.raises(PreflightRefused, match="another version of chromadb"):
        adapter.open({"path": str(older), "source": "app"}, collection="docs")
    assert _dump(older) == before


def test_the_application_may_have_the_directory_open_in_this_process_in_another_spelling(chroma_directory, monkeypatch):
    import chromadb

    path, client = chroma_directory
    client.create_collection("app", embedding_function=None).add(ids=["a"], embeddings=[[1.0, 0.0]], documents=["red apple"])
    monkeypatch.chdir(path.parent)
    store = adapter.open({"path": "chroma", "source": "app"}, collection="docs")
    assert store.count() == 1
    paths = [id for id in chromadb.api.client.SharedSystemClient._identifier_to_system if id.endswith("chroma")]
    assert paths == [str(path)]
    store.close()
    assert client.get_collection("app").count() == 1


def test_a_closed_store_leaves_the_directory_to_others(chroma_directory):
    path, client = chroma_directory
    client.create_collection("app")
    store = adapter.open({"path": str(path), "source": "app"}, collection="docs")
    store.close()
    store.close()
    again = adapter.open({"path": str(path), "source": "app"}, collection="docs")
    assert again.count() == 0
    again.close()


def test_no_embedding_function_is_loaded_or_changed(opened, chroma_directory):
    _, client = chroma_directory
    client.create_collection("app")
    store = opened([])
    store.adopt(CONTROL.model)
    store.create_version(CONTROL.model)
    assert client.get_collection("app").configuration_json["embedding_function"]["name"] == "default"
    assert client.get_collection("vecmigrate.docs.v1").configuration_json["embedding_function"] in (None, {"type": "legacy"})
    assert "default" in dict(store.inspect().details)["embedding function on record"]


def test_telemetry_is_off(opened):
    opened(rows_of({"a": "red apple"}))
    assert os.environ["ANONYMIZED_TELEMETRY"] == "False"


def test_a_server_that_is_down_is_unavailable(tmp_path):
    with pytest.raises(StoreUnavailable, match="does not answer"):
        adapter.open({"url": f"http://127.0.0.1:{free_port()}", "source": "app"}, collection="docs")


def test_an_old_server_is_refused_with_its_version(answering):
    url = answering(lambda path, headers: (200, '"0.5.20"') if path == "/api/v1/version" else (404, "not here"))
    with pytest.raises(PreflightRefused, match=r"0\.5\.20"):
        adapter.open({"url": url, "source": "app"}, collection="docs")


def test_something_else_on_the_port_is_not_chroma(answering):
    with pytest.raises(StoreError, match="not a Chroma server"):
        adapter.open({"url": answering(lambda path, headers: (200, "<html>welcome</html>")), "source": "app"}, collection="docs")


def test_a_wrong_token_is_denied_and_not_repeated(answering, monkeypatch):
    seen = []
    url = answering(lambda path, headers: seen.append(headers["Authorization"]) or (401, "who are you"))
    monkeypatch.setenv("CHROMA_TOKEN", "s3cret")
    with pytest.raises(AccessDenied) as denied:
        adapter.open({"url": url, "source": "app", "headers_env": "CHROMA_TOKEN"}, collection="docs")
    assert "s3cret" not in str(denied.value)
    assert seen == ["Bearer s3cret"]


def test_a_gateway_without_a_server_is_unavailable_and_tried_again(answering):
    seen = []
    url = answering(lambda path, headers: seen.append(path) or (503, "no backend"))
    with pytest.raises(StoreUnavailable, match="503"):
        adapter.open({"url": url, "source": "app"}, collection="docs")
    assert len(seen) == 5


def test_capabilities_differ_between_directory_and_server(opened, opened_on_server):
    directory, server = opened(rows_of({"a": "red apple"})), opened_on_server(rows_of({"a": "red apple"}))
    assert isinstance(directory, Store)
    assert "chroma run --path" in directory.can(Capability.CONCURRENT_PROCESSES).reason
    assert server.can(Capability.CONCURRENT_PROCESSES).able
    assert not server.can(Capability.TRANSACTIONAL_FLIP).able
    assert "32-bit" in server.can(Capability.HALF_PRECISION).reason
