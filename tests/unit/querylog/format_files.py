"""Writes exports into files and reads them as a log."""

from __future__ import annotations

import csv
import json
from typing import Any

from vecmigrate.config import LogSection
from vecmigrate.querylog import EventLog, read_events
from vecmigrate.records import FeedbackKind


def export(folder: Any, *tables: tuple[str, list[dict[str, Any]]], **settings: Any) -> EventLog:
    """Write each table into its file, by the file's ending, and read the first as `path` with the others as `also`."""
    for name, rows in tables:
        path = folder / name
        if name.endswith(".jsonl"):
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        elif name.endswith(".json"):
            path.write_text(json.dumps(rows, indent=2), encoding="utf-8")
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
                writer.writeheader()
                writer.writerows(rows)
    (first, *others) = (name for name, _ in tables)
    return read_events(LogSection(path=first, also=tuple(others), **settings), root=folder)


def approved(log: EventLog) -> list[list[str]]:
    """For each search, what answers rated good have cited."""
    return [[act.ref for act in event.feedback if act.kind is FeedbackKind.APPROVAL] for event in log]
