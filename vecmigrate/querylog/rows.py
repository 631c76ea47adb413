"""From a file to numbered rows. A line that cannot be read is yielded as a `Problem`, so it never stops the rest.

bytes ─► lines (BOM, CRLF, NUL, invalid UTF-8, length) ─► JSON objects | CSV records ─► Row
JSON array or object over many lines ─► json_documents ─────────────────────────────────► Row
Parquet, table or SQL ────────────────────────────────────────────────────────────────► Row
"""

from __future__ import annotations

import codecs
import csv
import json
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from vecmigrate.errors import DataError
from vecmigrate.querylog.json_documents import document_rows, is_document
from vecmigrate.querylog.row import Problem, Row, json_kind

__all__ = ["Problem", "Row", "file_rows", "text_lines"]

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes; a longer line is passed over without being held in memory."""
LONGEST_RECORD = 200
"""Lines that one quoted CSV record may span before its quote counts as never closed."""

_UNREADABLE_TEXT = "lines held bytes that are not UTF-8, which were replaced"
_NUL = "lines held NUL bytes, which were removed"
_WHERE = "check the name; the query log's is `path` under [log] in vecmigrate.toml, from that file's folder on"
_ENCODED_OTHERWISE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def file_rows(path: Path, notes: Counter[str]) -> Iterator[Row | Problem]:
    """The rows of a JSONL, JSON, CSV, TSV or Parquet file, by its suffix; anything unknown is read as JSON, by lines or as one document.

    `notes` counts what was mended on the way. Raises `DataError` when the file itself cannot be read.
    """
    with _translated(path):
        match path.suffix.lower():
            case ".parquet" | ".pq":
                yield from _parquet_rows(path)
            case ".csv" | ".tsv" | ".txt":
                yield from _csv_rows(path, notes)
            case _ if is_document(path):
                yield from document_rows(path)
            case _:
                yield from _json_rows(path, notes)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", hint=_WHERE) from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DataError(f"{path} cannot be read: {why}", hint=_WHERE) from None


def text_lines(path: Path, notes: Counter[str]) -> Iterator[tuple[int, str] | Problem]:
    """The file's lines without their ends, decoded as UTF-8; blank ones are there too. Memory of one line."""
    with path.open("rb") as file:
        _refuse_other_encodings(path, file)
        number = 0
        while raw := file.readline(LONGEST_LINE):
            number += 1
            if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                _skip_line(file)
                yield Problem(number, f"longer than {LONGEST_LINE // 2**20} MiB")
                continue
            yield number, _decoded(raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw, notes)


def _refuse_other_encodings(path: Path, file: BinaryIO) -> None:
    start = file.read(4)
    file.seek(0)
    if start.startswith(_ENCODED_OTHERWISE):
        raise DataError(f"{path} is not UTF-8 but UTF-16 or UTF-32", hint=f"iconv -f UTF-16 -t UTF-8 {path.name} > utf8-{path.name}")
    if start.startswith(b"\x1f\x8b"):
        raise DataError(f"{path} is compressed", hint=f"gunzip {path.name}, and name the file that comes out under [log]")


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        continue


def _decoded(raw: bytes, notes: Counter[str]) -> str:
    if b"\x00" in raw:
        notes[_NUL] += 1
        raw = raw.replace(b"\x00", b"")
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        notes[_UNREADABLE_TEXT] += 1
        return raw.decode(errors="replace").rstrip("\r\n")


def _json_rows(path: Path, notes: Counter[str]) -> Iterator[Row | Problem]:
    for found in text_lines(path, notes):
        if isinstance(found, Problem):
            yield found
        elif found[1].strip():
            yield _json_row(*found)


def _json_row(number: int, line: str) -> Row | Problem:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        return Problem(number, f"not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError):
        return Problem(number, "not JSON that can be read: too deep, or a number too long")
    if not isinstance(values, dict):
        return Problem(number, f"a JSON {json_kind(values)}, expected an object")
    return Row(number, values)


def _csv_rows(path: Path, notes: Counter[str]) -> Iterator[Row | Problem]:
    lines = _Lines(text_lines(path, notes))
    header: list[str] | None = None
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ""
    for found in lines:
        if isinstance(found, Problem):
            yield found
            continue
        if not found[1].strip():
            continue
        delimiter = delimiter or max(",;\t|", key=found[1].count)
        cells = _record(*found, lines, delimiter)
        if isinstance(cells, Problem):
            yield cells
        elif header is None:
            header = [name.strip() for name in cells]
        elif len(cells) > len(header):
            yield Problem(found[0], f"{len(cells)} fields under a header of {len(header)}")
        else:
            yield Row(found[0], dict(zip(header, (cell or None for cell in cells), strict=False)))


class _Lines:
    """Lines with room to give some back, so that a quote which is never closed costs one line and not the rest of the file."""

    def __init__(self, lines: Iterator[tuple[int, str] | Problem]) -> None:
        self._lines = lines
        self._returned: deque[tuple[int, str] | Problem] = deque()

    def __iter__(self) -> Iterator[tuple[int, str] | Problem]:
        return self

    def __next__(self) -> tuple[int, str] | Problem:
        return self._returned.popleft() if self._returned else next(self._lines)

    def give_back(self, lines: Sequence[tuple[int, str] | Problem]) -> None:
        """Put the lines in front again, in their order."""
        self._returned.extendleft(reversed(lines))


def _record(number: int, line: str, lines: _Lines, delimiter: str) -> list[str] | Problem:
    """The fields of the record that begins with this line: it goes on while a quote is open. What it does not use is given back."""
    more = _open_lines(line, lines)
    physical = [line, *(text for _, text in more)]
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    reader = csv.reader((f"{text}\n" for text in physical), delimiter=delimiter, strict=True)
    try:
        cells = next(reader, [])
    except csv.Error:
        lines.give_back(more)
        return Problem(number, "quotes that do not match")
    lines.give_back(more[reader.line_num - 1 :])
    return cells


def _open_lines(line: str, lines: _Lines) -> list[tuple[int, str]]:
    more: list[tuple[int, str]] = []
    quotes = line.count('"')
    while quotes % 2 and len(more) < LONGEST_RECORD:
        following = next(lines, None)
        if following is None:
            break
        if isinstance(following, Problem):
            lines.give_back([following])
            break
        more.append(following)
        quotes += following[1].count('"')
    return more


def _parquet_rows(path: Path) -> Iterator[Row | Problem]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for values in _to_microseconds(batch).to_pylist():
                    number += 1
                    yield Row(number, values)
    except pa.ArrowException as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{path} is not readable as Parquet after row {number}: {why}", hint="write the file again") from None


def _to_microseconds(batch: Any) -> Any:
    """Python's datetime holds no nanoseconds, and Arrow refuses rather than rounds."""
    import pyarrow as pa

    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            column = batch.column(place).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(place, field.name, column)
    return batch
