"""From a query log to judgments: read it, find its results in the store, and decide what users said.

read_events (format, scope, redaction) ─► EventLog ─► resolve ─► ResolvedLog ─► judge ─► JudgedLog
files of queries, pairs or answers (redaction) ─► judged_from_files, judged_from_pairs, judged_from_faq ─► JudgedLog
"""

from vecmigrate.querylog.faq import judged_from_faq
from vecmigrate.querylog.judgments import JudgedLog, JudgmentReport, judge
from vecmigrate.querylog.pairs import judged_from_pairs
from vecmigrate.querylog.qrels import judged_from_files
from vecmigrate.querylog.readers import EventLog, ReadReport, read_events
from vecmigrate.querylog.redaction import redacted
from vecmigrate.querylog.resolution import ResolutionReport, ResolvedLog, resolve
from vecmigrate.querylog.rules import JudgmentRules
from vecmigrate.querylog.wording import normalised

__all__ = [
    "EventLog",
    "JudgedLog",
    "JudgmentReport",
    "JudgmentRules",
    "ReadReport",
    "ResolutionReport",
    "ResolvedLog",
    "judge",
    "judged_from_faq",
    "judged_from_files",
    "judged_from_pairs",
    "normalised",
    "read_events",
    "redacted",
    "resolve",
]
