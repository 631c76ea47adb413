"""A missing adapter, a missing driver and a broken adapter are three things."""

from importlib.metadata import EntryPoint

import pytest

from vecmigrate import registry
from vecmigrate.errors import MissingDependency, UsageError


def test_both_adapters_are_known_without_being_imported():
    assert {"pgvector", "chroma"} <= set(registry.available())


def test_an_unknown_adapter_lists_the_installed_ones():
    with pytest.raises(UsageError) as caught:
        registry.adapter("qdrant")
    assert caught.value.message == "there is no adapter named 'qdrant'"
    assert "pgvector" in caught.value.hint


def install(monkeypatch, tmp_path, source: str) -> None:
    (tmp_path / "made_up_adapter.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "made_up_adapter", raising=False)
    point = EntryPoint("made-up", "made_up_adapter:adapter", registry.GROUP)
    monkeypatch.setattr(registry, "available", lambda: {"made-up": point})


def test_a_missing_driver_is_named(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "import a_driver_nobody_has\nadapter = 1\n")
    with pytest.raises(MissingDependency, match="needs the package 'a_driver_nobody_has'"):
        registry.adapter("made-up")


def test_a_broken_adapter_is_not_taken_for_a_missing_one(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path, "1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        registry.adapter("made-up")


def test_an_adapter_opens_a_store_with_its_settings(monkeypatch, tmp_path):
    source = "class A:\n    name = 'made-up'\n    def open(self, settings, *, collection):\n        return (settings, collection)\nadapter = A()\n"
    install(monkeypatch, tmp_path, source)
    assert registry.open_store("made-up", {"a": 1}, collection="docs") == ({"a": 1}, "docs")
