"""Text of unknown origin, made safe to show: no control codes for the terminal, nothing that reorders a line."""

from __future__ import annotations

import re

_LINE_BREAKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029 ]+")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")


def cleaned(text: str, longest: int | None = None) -> str:
    """One line: white space becomes single blanks, C0 and C1 codes, bidirectional controls and lone surrogates become `�`.

    Cut to `longest` characters, with `…` for what was cut.
    """
    line = _UNSEEN.sub("\ufffd", _LINE_BREAKS.sub(" ", text)).strip()
    return line if longest is None or len(line) <= longest else line[: longest - 1].rstrip() + "…"
