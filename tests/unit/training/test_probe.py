"""The general probe and a probe folder: opened, or refused with the file and line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from vecmigrate.errors import DataError, UsageError
from vecmigrate.training.probe import LARGEST_QUERIES, open_probe

CORPUS = '{"id": "c1", "title": "Lifts", "text": "Call the engineer."}\n\n{"id": 2, "text": "Descale it."}\n'
QUERIES = '{"id": "q1", "text": "the lift is stuck"}\n{"id": "q2", "text": "coffee tastes odd"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\tc1\t1\nq2\t2\t2\nq2\tc1\t0\n"


def folder(tmp_path: Path, **files: str | None) -> Path:
    """A probe, with other files in place of its own, or without them."""
    home = tmp_path / "probe"
    home.mkdir()
    for name, text in {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels.tsv": QRELS}.items():
        given = files.get(name.partition(".")[0], text)
        if given is not None:
            (home / name).write_text(given, encoding="utf-8")
    return home


def test_no_probe_is_opened_where_none_is_wanted(tmp_path: Path) -> None:
    assert open_probe("none", root=tmp_path, seed=0) is None


def test_the_probe_that_is_shipped_opens_whole_and_groups_the_wordings_of_one_thing(tmp_path: Path) -> None:
    found = open_probe("general", root=tmp_path, seed=0)
    assert found is not None
    assert (len(found.queries), len(found.pool), len(set(found.groups))) == (325, 224, 224)
    assert all(len(grades) == 1 for grades in found.grades)


def test_a_folder_is_read_with_titles_and_grades(tmp_path: Path) -> None:
    folder(tmp_path)
    found = open_probe(Path("probe"), root=tmp_path, seed=0)
    assert found is not None
    assert found.queries == ("the lift is stuck", "coffee tastes odd")
    assert sorted(found.pool) == ["Descale it.", "Lifts\nCall the engineer."]
    assert [{found.pool[place]: grade for place, grade in grades.items()} for grades in found.grades] == [
        {"Lifts\nCall the engineer.": 1.0},
        {"Descale it.": 2.0},
    ]


def test_judgments_of_what_is_not_in_the_folder_do_not_count(tmp_path: Path) -> None:
    home = folder(tmp_path, qrels=QRELS + "q9\tc1\t1\nq1\tgone\t1\n")
    found = open_probe(home, root=tmp_path, seed=0)
    assert found is not None
    assert len(found.queries) == 2


def test_a_line_end_of_another_script_within_a_text_parts_no_line(tmp_path: Path) -> None:
    found = open_probe(folder(tmp_path, corpus=CORPUS + '{"id": "c3", "text": "one\u2028two\x85three"}\n'), root=tmp_path, seed=0)
    assert found is not None
    assert "one\u2028two\x85three" in found.pool


def test_a_large_probe_is_cut_to_the_same_queries_each_time(tmp_path: Path) -> None:
    many = LARGEST_QUERIES + 50
    home = folder(
        tmp_path,
        queries="".join(f'{{"id": "q{n:04}", "text": "ask {n}"}}\n' for n in range(many)),
        qrels="h\n" + "".join(f"q{n:04}\tc1\t1\n" for n in range(many)),
    )
    first, again = (open_probe(home, root=tmp_path, seed=0) for _ in range(2))
    assert first is not None
    assert first == again
    assert len(first.queries) == 500


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"no folder {tmp_path}/gone") as caught:
        open_probe(Path("gone"), root=tmp_path, seed=0)
    assert "corpus.jsonl, queries.jsonl and qrels.tsv" in caught.value.hint


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"corpus": None}, "corpus.jsonl"),
        ({"queries": None}, "queries.jsonl"),
        ({"qrels": None}, "qrels.tsv"),
        ({"corpus": CORPUS + "{not json\n"}, r"corpus.jsonl, line 4"),
        ({"corpus": '{"id": "c1"}\n'}, r"corpus.jsonl, line 1: .*text"),
        ({"corpus": '["c1"]\n'}, r"corpus.jsonl, line 1"),
        ({"queries": '{"id": "q1", "text": "a"}\n{"text": "b"}\n'}, r"queries.jsonl, line 2: .*id"),
        ({"qrels": QRELS + "q1\tc1\n"}, r"qrels.tsv, line 5"),
        ({"qrels": QRELS + "q1\tc1\tgood\n"}, r"qrels.tsv, line 5"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_with_the_file_and_line(tmp_path: Path, files: dict[str, str | None], named: str) -> None:
    with pytest.raises(DataError, match=named):
        open_probe(folder(tmp_path, **files), root=tmp_path, seed=0)


@pytest.mark.parametrize("qrels", ["query-id\tcorpus-id\tscore\n", "h\nq1\tc1\t0\n", "h\nq9\tc1\t1\n"])
def test_a_folder_without_a_judged_query_is_refused_by_its_name(tmp_path: Path, qrels: str) -> None:
    home = folder(tmp_path, qrels=qrels)
    with pytest.raises(DataError, match="probe") as caught:
        open_probe(home, root=tmp_path, seed=0)
    assert "dev_fraction" not in caught.value.hint
