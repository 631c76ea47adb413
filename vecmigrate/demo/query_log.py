"""The demo search log: questions to the standard library's documentation and the entries opened.

The questions were written for this demo, by hand; none was collected from a user.  The
times and sessions are made up around them, and some dullness of real logs is put in:
repeated questions, searches without a click, a few clicks on a merely related entry.  The
list shown with each search is what all-MiniLM-L6-v2 returned by cosine over CPython 3.11's
documentation (:mod:`vecmigrate.demo.corpus`); the opened entry is often not among the ten,
as the asker is taken to have got there in the end by other ways.

The log describes Python 3.11: another Python may lack an entry or two of those named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

_FILE = "query_log.jsonl"


def path() -> Path:
    """Return the log as a file: one JSON object a line, in the order of time.

    An installed wheel and a checkout both have it on disk; a zipped package has not, and
    there :func:`rows` still reads it.
    """
    return Path(str(resources.files("vecmigrate.demo").joinpath(_FILE)))


def rows() -> Iterator[dict[str, Any]]:
    """Yield the searches in the order of time, each as a flattened row in UBI's names.

    The keys are ``query_id``, ``timestamp`` (ISO 8601, UTC), ``session_id``,
    ``user_query``, ``query_response_hit_ids`` (ten ids, best first) and ``clicked_ids``
    (none, one or two ids).
    """
    text = resources.files("vecmigrate.demo").joinpath(_FILE).read_text(encoding="ascii")
    yield from map(json.loads, text.splitlines())
