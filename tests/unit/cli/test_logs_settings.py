"""What `logs import` notes under [log], and what of it stays when another log is imported."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from vecmigrate.cli.logs import _note, _section
from vecmigrate.cli.session import Session
from vecmigrate.config import LogSection
from vecmigrate.errors import UsageError

OLD = LogSection(path=Path("old.jsonl"), format="dify", min_support=3, only_tenant="acme", redact=False, columns={"tenant": "org"})


def test_the_rules_stay_and_what_belonged_to_the_last_log_goes(tmp_path):
    section = _section((tmp_path / "new.jsonl",), (), {"table": None, "min_rating": None}, OLD)
    assert (section.min_support, section.only_tenant, section.redact) == (3, "acme", False)
    assert (section.path, section.format, section.columns) == (tmp_path / "new.jsonl", "auto", {})


def test_what_is_given_goes_before_what_is_noted():
    section = _section((), ("user_query=q",), {"table": "public.log", "min_support": 1, "redact": True}, OLD)
    assert (section.table, section.min_support, section.redact, section.columns) == ("public.log", 1, True, {"user_query": "q"})


def test_further_files_are_noted_beside_the_first(tmp_path):
    file = tmp_path / "vecmigrate.toml"
    file.write_text('# mine\n[store]\nadapter = "chroma"\n', encoding="utf-8")
    elsewhere = Path("/elsewhere/notes.jsonl")
    section = _section((tmp_path / "spans.jsonl", tmp_path / "a/scores.csv", elsewhere), (), {"format": "phoenix"}, LogSection())
    _note(Session(config_path=file), section)
    assert tomllib.loads(file.read_text(encoding="utf-8"))["log"] == {
        "path": "spans.jsonl",
        "also": ["a/scores.csv", "/elsewhere/notes.jsonl"],
        "format": "phoenix",
    }
    assert file.read_text(encoding="utf-8").startswith("# mine\n")
    assert LogSection(**json.loads(json.dumps(tomllib.loads(file.read_text(encoding="utf-8"))["log"]))).also[0] == Path("a/scores.csv")


def test_an_unknown_format_is_a_usage_error():
    with pytest.raises(UsageError, match="'phoenix'"):
        _section((Path("x.jsonl"),), (), {"format": "fenix"}, LogSection())
