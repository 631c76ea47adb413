"""The disk that Chroma does not give back when a collection is deleted, and what does.

Rows leave free pages in the database file, which a vacuum returns; the folder with the deleted index stays (chroma issue 5259), and nothing of
Chroma's removes it. Folders are only named here, never removed: that is for an operator with everything stopped.
"""

from __future__ import annotations

import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

DATABASE = "chroma.sqlite3"
_FOLDER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHOWN = 5


def kept_disk(path: Path | None) -> str:
    """What becomes of a dropped version's disk, and the commands that give it back. `path` is the directory; None for a server's."""
    where = "the server's directory" if path is None else str(path)
    vacuum = f"Chroma keeps what a dropped collection held: chroma vacuum --path {where}, with the server and all clients stopped, gives back the database's part"
    if path is None:
        return f"{vacuum}; folders there that its table segments does not name are left from deleted indexes (chroma issue 5259)"
    left = left_folders(path)
    if not left:
        return vacuum
    mib = sum(_size(folder) for folder in left) / 2**20
    listed = " ".join(shlex.quote(str(folder)) for folder in left[:SHOWN]) + (" …" if len(left) > SHOWN else "")
    return f"{vacuum}; {len(left)} folders of deleted indexes ({mib:,.1f} MiB; chroma issue 5259) nothing uses any more: rm -r {listed}"


def left_folders(path: Path) -> list[Path]:
    """Index folders that the directory's database does not know. Empty when the database can't be read: better none than a wrong one."""
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and _FOLDER.fullmatch(entry.name))
    if not folders:
        return []
    try:
        with closing(sqlite3.connect(f"file:{path / DATABASE}?mode=ro", uri=True)) as database:
            used = {str(row[0]) for row in database.execute("SELECT id FROM segments")}
    except sqlite3.Error:
        return []
    return [folder for folder in folders if folder.name not in used]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
