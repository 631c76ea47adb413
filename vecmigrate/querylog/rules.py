"""The thresholds by which acts become judgments. What each rests on is in docs/query-logs.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from vecmigrate.config import LogSection

REPEAT_WINDOW = timedelta(minutes=30)
"""The same words by the same person within this time are one search: a reload or a next page. It is the usual gap between sessions."""


@dataclass(frozen=True, slots=True)
class JudgmentRules:
    """Lengths are characters of the normalised wording; `searches_per_hour` and `repeats` are a session's.

    `min_support` counts the people behind a click or citation, `min_dwell` is in seconds, `position_bias` is `auto` (estimated from the
    log where it can be, else 1/rank^`eta`), `default` or `off`.
    """

    min_length: int = 2
    max_length: int = 2000
    searches_per_hour: int = 120
    repeats: int = 20
    min_support: int = 1
    min_dwell: float = 30.0
    position_bias: str = "auto"
    eta: float = 1.0


def rules_of(log: LogSection) -> JudgmentRules:
    """The rules that `[log]` sets."""
    return JudgmentRules(
        min_support=log.min_support, min_dwell=log.min_dwell_seconds, position_bias=log.position_bias, eta=log.position_eta
    )
