"""What asking costs, and when it has cost enough. Tokens are the server's figures; where it gives none, a third of the bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vecmigrate.config import SynthesisSection

BYTES_PER_TOKEN = 3
"""Of UTF-8. Low on purpose: an estimate that stops a budget should stop it early rather than late."""
PER_MESSAGE = 8
"""Tokens that a chat format puts around a message."""
UNKNOWN_ANSWER = 1000
"""Tokens that an answer is taken to have where nothing bounds it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens sent and received."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.sent + other.sent, self.received + other.received)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.sent - other.sent, self.received - other.received)

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.sent + self.received


def estimated_tokens(text: str) -> int:
    """An upper guess for most languages."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN) + PER_MESSAGE


def most_for(prompt: str, settings: SynthesisSection) -> Usage:
    """What asking this may cost at most, as far as one can know."""
    named = [settings.body.get(name) for name in ("max_completion_tokens", "max_tokens")]
    limits = [limit for limit in (*named, settings.max_tokens) if isinstance(limit, int) and limit > 0]
    return Usage(estimated_tokens(prompt), limits[0] if limits else UNKNOWN_ANSWER)


def price(usage: Usage, settings: SynthesisSection) -> float | None:
    """In the currency of the prices; None where none are given."""
    if settings.price_per_million_in is None or settings.price_per_million_out is None:
        return None
    return (usage.sent * settings.price_per_million_in + usage.received * settings.price_per_million_out) / 1e6


class Purse:
    """The budget: what is spent, and what requests under way may yet cost. For one thread."""

    def __init__(self, settings: SynthesisSection, spent: Usage) -> None:
        self._settings = settings
        self.spent = spent
        self._held = Usage()

    def reserve(self, most: Usage) -> bool:
        """Set this aside; False, and nothing is set aside, when the budget does not hold it."""
        if not self._allows(self.spent + self._held + most):
            return False
        self._held = self._held + most
        return True

    def settle(self, most: Usage, actual: Usage) -> None:
        """What was set aside has cost this."""
        self._held = self._held - most
        self.spent = self.spent + actual

    def _allows(self, total: Usage) -> bool:
        settings = self._settings
        money = price(total, settings)
        within_tokens = settings.budget_tokens is None or total.tokens <= settings.budget_tokens
        return within_tokens and (settings.budget_money is None or money is None or money <= settings.budget_money)


def usage_words(usage: Usage, settings: SynthesisSection) -> str:
    """For printing: "12,300 tokens in, 4,500 out (0.0123)"."""
    money = price(usage, settings)
    return f"{usage.sent:,} tokens in, {usage.received:,} out" + (f" ({money:.4f} at the prices given)" if money is not None else "")
