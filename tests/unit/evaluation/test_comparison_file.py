from __future__ import annotations

import json
import os
import stat
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from vecmigrate.errors import DataError
from vecmigrate.evaluation import Comparison

from .evaluation_worlds import letters, side


def later(comparison: Comparison, seconds: float, **changes: object) -> Comparison:
    return replace(comparison, created_at=comparison.created_at + timedelta(seconds=seconds), **changes).sealed()


def test_json_and_back_is_the_same_comparison(comparison):
    assert Comparison.from_dict(json.loads(json.dumps(comparison.to_dict()))) == comparison


def test_a_real_comparison_survives_the_round_trip():
    found = letters({"q1": ("abc", "bac", "b"), "q2": ("abc", "cab", "a")}, slices={"q1": ("s",)}).compare(trained_chunks=frozenset("a"))
    assert Comparison.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_texts_that_are_no_valid_utf8_can_be_saved(comparison, tmp_path):
    odd = replace(comparison, warnings=("lone \ud800 surrogate, NUL \x00, line \u2028",)).sealed()
    assert Comparison.load(odd.save(tmp_path)) == odd


def test_the_json_holds_no_nan(comparison):
    assert "NaN" not in json.dumps(comparison.to_dict(), allow_nan=False)


def test_the_id_is_the_time_and_a_digest(comparison):
    assert comparison.id.startswith("20260301T123015250Z-")
    assert comparison.sealed() == comparison


@pytest.mark.parametrize("name", sorted(f.name for f in fields(Comparison) if f.name in ("rows", "seed", "k", "depth", "resamples")))
def test_every_figure_is_in_the_digest(comparison, name):
    assert replace(comparison, **{name: 77}).sealed().id != comparison.id


def test_a_file_whose_figures_were_changed_is_refused(comparison, tmp_path):
    file = comparison.save(tmp_path)
    file.write_text(file.read_text().replace('"overlap": 0.42', '"overlap": 0.99'))
    with pytest.raises(DataError, match="was changed after it was made"):
        Comparison.load(file)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 99}', "null", "\x00\xff"])
def test_a_file_that_is_no_comparison_is_named(tmp_path, content):
    file = tmp_path / "20260301T123015250Z-abc.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=file.name) as refused:
        Comparison.load(file)
    assert refused.value.hint


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.json"):
        Comparison.load(tmp_path / "nowhere.json")


def test_a_comparison_is_saved_whole_under_its_id_for_its_owner_alone(comparison, tmp_path):
    file = comparison.save(tmp_path / "deep" / "folder")
    assert file.name == f"{comparison.id}.json"
    assert Comparison.load(file) == comparison
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_a_failed_save_leaves_nothing_behind(comparison, tmp_path, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        comparison.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_a_clear_error(comparison, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="taken"):
        comparison.save(tmp_path / "taken")


def test_saving_twice_is_the_same_file(comparison, tmp_path):
    assert comparison.save(tmp_path) == comparison.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_latest_is_the_newest_of_the_fingerprint(comparison, tmp_path):
    other = later(comparison, 60, candidate=side("docs@v2"))
    newer = later(comparison, 0.5)
    for each in (newer, other, comparison):
        each.save(tmp_path)
    assert Comparison.latest(tmp_path, fingerprint=comparison.candidate.fingerprint) == newer
    assert Comparison.latest(tmp_path, fingerprint=other.candidate.fingerprint) == other
    assert Comparison.latest(tmp_path) == other
    assert Comparison.latest(tmp_path, fingerprint="nobody's") is None


def test_there_is_no_latest_in_an_empty_or_missing_folder(tmp_path):
    assert Comparison.latest(tmp_path) is None
    assert Comparison.latest(tmp_path / "missing") is None


def test_an_unreadable_newest_file_is_not_passed_over_for_an_older_verdict(comparison, tmp_path):
    comparison.save(tmp_path)
    later(comparison, 60).save(tmp_path).write_text("{")
    with pytest.raises(DataError, match="is no comparison"):
        Comparison.latest(tmp_path, fingerprint=comparison.candidate.fingerprint)


def test_other_files_in_the_folder_are_left_alone(comparison, tmp_path):
    comparison.save(tmp_path)
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / f".{comparison.id}.json.abc").write_text("{")
    assert Comparison.latest(tmp_path) == comparison


def test_times_keep_their_zone(comparison, tmp_path):
    assert Comparison.load(comparison.save(tmp_path)).created_at == datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
