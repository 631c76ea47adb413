"""How a dataset lies on disk: Parquet files and a manifest in one folder, which appears whole or not at all.

    .building-…/ (locked while it is written) ── fsync, rename ─► <hash>/ manifest.json chunks.parquet queries.parquet …

Files are 0600, folders 0700: they hold what users asked.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vecmigrate.errors import DataError

BUILDING = ".building-"
MANIFEST = "manifest.json"
LOCK = "lock"
ABANDONED = 3600
"""Seconds after which a folder without a lock is no longer about to get one."""
BATCH = 1000

Columns = Mapping[str, str]
"""Column name → its Arrow type, as `pyarrow.type_for_alias` names it; `[x]` is a list of x, `utc` a time."""


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A new locked folder inside `folder` to build in, removed at the end unless it was renamed. Those of killed builds are removed too.

    Raises `DataError` when the folder can't be written, or the disk is full.
    """
    with _translated(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left_over in folder.glob(f"{BUILDING}*"):
            _remove_if_dead(left_over)
        place = Path(tempfile.mkdtemp(prefix=BUILDING, dir=folder))
        lock = os.open(place / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
            os.close(lock)


def _remove_if_dead(place: Path) -> None:
    try:
        lock = os.open(place / LOCK, os.O_RDWR)
    except FileNotFoundError:
        if place.is_dir() and time.time() - place.stat().st_mtime > ABANDONED:
            shutil.rmtree(place, ignore_errors=True)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(place, ignore_errors=True)
    except OSError:
        return  # a living process holds it
    finally:
        os.close(lock)


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(f"the dataset folder {folder} cannot be written: {why}", hint="free some space, or mend its permissions") from None


def publish(place: Path, manifest: Mapping[str, Any], target: Path) -> None:
    """Write the manifest and move the finished folder to `target`, replacing a damaged one of the same content."""
    with private(place / MANIFEST) as path:
        path.write_text(json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    (place / LOCK).unlink()
    for path in place.iterdir():
        sync(path)
    if target.exists():
        target.rename(place.with_name(f"{place.name}-replaced"))
    place.rename(target)
    sync(target.parent)
    shutil.rmtree(place.with_name(f"{place.name}-replaced"), ignore_errors=True)


def sync(path: Path) -> None:
    """Make a file or a folder's entries survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def private(path: Path) -> Iterator[Path]:
    """Create the file for its owner alone before anything is written to it."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    yield path


def file_digest(path: Path) -> str:
    """SHA-256 of the file, in memory of one block."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_table(path: Path, columns: Columns, batches: Iterable[Sequence[Sequence[Any]]]) -> None:
    """Write rows, which come in batches, each row with one value per column. Memory of one batch."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    schema = pa.schema([(name, _arrow_type(kind)) for name, kind in columns.items()])
    with private(path) as made, pq.ParquetWriter(made, schema, compression="zstd") as writer:
        for rows in batches:
            if rows:
                by_column = zip(*rows, strict=True)
                arrays = [pa.array(values, type=field.type) for values, field in zip(by_column, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _arrow_type(kind: str) -> Any:
    import pyarrow as pa

    if kind == "utc":
        return pa.timestamp("us", tz="UTC")
    return pa.list_(_arrow_type(kind[1:-1])) if kind.startswith("[") else pa.type_for_alias(kind)


def read_table(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows as mappings, in memory of one batch. Raises `DataError` when the file can't be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH, columns=columns):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, str(error).splitlines()[0]) from None


def read_texts(path: Path, ids: Container[str]) -> dict[str, str]:
    """The texts of these ids by id; absent ones are absent. Texts are read only of row groups that hold one. Raises as `read_table`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, str] = {}
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                here = file.read_row_group(group, columns=["id"]).column("id").to_pylist()
                places = [place for place, id in enumerate(here) if id in ids]
                if places:
                    texts = file.read_row_group(group, columns=["text"]).column("text").take(places).to_pylist()
                    found |= dict(zip((here[place] for place in places), texts, strict=True))
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, str(error).splitlines()[0]) from None
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a dataset's folder. Raises `DataError` when there is none or it can't be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{folder} holds no dataset", hint="vecmigrate dataset build makes one") from None
    except (OSError, ValueError) as error:
        raise damaged(folder / MANIFEST, str(error)) from None
    if not isinstance(found, dict):
        raise damaged(folder / MANIFEST, "not a JSON object")
    return found


def damaged(path: Path, why: str) -> DataError:
    """The error for a file that is not what was frozen."""
    return DataError(f"the dataset file {path} is not what was frozen: {why}", hint="vecmigrate dataset build makes it anew")
