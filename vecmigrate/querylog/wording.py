"""When two texts are the same question: the normalised wording, which is a query's identity."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_TRAILING = " \t.,;:!?…。、！？¿¡\"'`"
_WORD = re.compile(r"\w+")


def normalised(text: str) -> str:
    """NFKC, case folded, white space collapsed, punctuation at the end taken off: "  Reset my  PASSWORD?" → "reset my password"."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    collapsed = " ".join(folded.split())
    return collapsed.rstrip(_TRAILING) or collapsed


def words(text: str) -> tuple[str, ...]:
    """The words of a normalised text in their order, without punctuation."""
    return tuple(_WORD.findall(text))


def query_id_of(wording: str) -> str:
    """The id of the query with this normalised wording: `q-` and 16 hex digits of its SHA-256."""
    return f"q-{hashlib.sha256(wording.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
