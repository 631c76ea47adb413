"""The general probe: questions that have nothing to do with the user's domain, to notice what a tuning makes worse.

A probe is a folder with corpus.jsonl (id, title, text), queries.jsonl (id, text) and qrels.tsv (query, chunk, grade; a header line), the
form that benchmarks are shared in; or the small one that comes with vecmigrate, written for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TypeVar

from vecmigrate.dataset.pairs import DevSet
from vecmigrate.errors import DataError, UsageError
from vecmigrate.records import Judgment, Query
from vecmigrate.training.devsearch import DevSearch, dev_search

_Line = TypeVar("_Line")

LARGEST_POOL = 2000
LARGEST_QUERIES = 500
_SHAPE = "a probe has corpus.jsonl, queries.jsonl and qrels.tsv; docs/fine-tuning.md shows them"


def open_probe(wanted: Path | str, *, root: Path, seed: int) -> DevSearch | None:
    """The probe named in `[training] probe`, ready to be searched; None for "none". A relative folder starts at `root`.

    Raises `UsageError` for a folder that isn't there, `DataError` for one that can't be read or has no judged query.
    """
    if wanted == "none":
        return None
    if wanted == "general":
        return dev_search(_general(), seed=seed, largest_pool=LARGEST_POOL)
    folder = root / Path(wanted).expanduser()
    found = _folder(folder)
    if not any(judgment.grade > 0 for judgment in found.judgments):
        raise DataError(f"the probe in {folder} has no query with a relevant chunk in it", hint=_SHAPE)
    return dev_search(found, seed=seed, largest_pool=LARGEST_POOL)


def _general() -> DevSet:
    text = resources.files("vecmigrate.training").joinpath("general_probe.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    asked = [(f"{row['id']}-{number}", query, row["id"]) for row in rows for number, query in enumerate(row["queries"])]
    return DevSet(
        queries=tuple(Query(id, query, group=chunk) for id, query, chunk in asked),
        judgments=tuple(Judgment(id, chunk, 1.0) for id, _, chunk in asked),
        pool={row["id"]: row["text"] for row in rows},
    )


def _folder(folder: Path) -> DevSet:
    if not folder.is_dir():
        raise UsageError(f"[training] probe: there is no folder {folder}", hint=_SHAPE)
    chunks = dict(_lines(folder / "corpus.jsonl", _chunk))
    queries = dict(_lines(folder / "queries.jsonl", _query))
    judgments = _lines(folder / "qrels.tsv", _judgment, header=1)
    asked = sorted({j.query_id for j in judgments if j.chunk_id in chunks and j.query_id in queries})[:LARGEST_QUERIES]
    kept = frozenset(asked)
    return DevSet(
        tuple(Query(id, queries[id]) for id in asked), tuple(j for j in judgments if j.query_id in kept and j.chunk_id in chunks), chunks
    )


def _lines(path: Path, parse: Callable[[str], _Line], *, header: int = 0) -> list[_Line]:
    """What each line says. Raises `DataError` naming the file, and the line that can't be read."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: JSON may hold other line ends within its strings
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read: {error}", hint=_SHAPE) from error
    made = []
    for number, line in enumerate(lines[header:], header + 1):
        if line.strip():
            try:
                made.append(parse(line))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}, line {number}: {type(error).__name__}: {error}", hint=_SHAPE) from error
    return made


def _chunk(line: str) -> tuple[str, str]:
    row = json.loads(line)
    return str(row["id"]), f"{row.get('title') or ''}\n{row['text']}".strip()


def _query(line: str) -> tuple[str, str]:
    row = json.loads(line)
    return str(row["id"]), str(row["text"])


def _judgment(line: str) -> Judgment:
    query, chunk, grade = line.split("\t")[:3]
    return Judgment(query, chunk, float(grade))
