"""Which model made the stored vectors: proved by re-embedding a sample, never read from a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import PreflightRefused
from vecmigrate.reindex.verification import cosines_of_sample, least_cosine
from vecmigrate.store import Store, control_version
from vecmigrate.versions import IndexVersion

CONFIRMING_SHARE = 0.9
"""Share of the sample that must agree: applications leave a few rows behind, such as ones whose text was edited later."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a sample of the application's own vectors compares with its texts re-embedded by `model`."""

    model: str
    sampled: int
    alike: int
    median_cosine: float | None
    unlike: tuple[str, ...]

    @property
    def confirmed(self) -> bool:
        """Nearly all of a sample that isn't empty agree."""
        return self.sampled > 0 and self.alike >= CONFIRMING_SHARE * self.sampled

    def sentence(self) -> str:
        """In words, with figures."""
        if not self.sampled:
            return f"{self.model}: no row has both a text and a vector to compare"
        seen = f"cosine {self.median_cosine} (median), {self.alike} of {self.sampled} sampled chunks alike"
        return f"{self.model}: {'confirmed' if self.confirmed else 'NOT the model that made these vectors'}: {seen}"

    def require(self) -> None:
        """Raise `PreflightRefused` unless confirmed: every comparison would be wrong."""
        if self.confirmed or not self.sampled:
            return
        raise PreflightRefused(
            self.sentence(),
            hint="check [control] model and prompts, and that [store] text or text_sql is exactly what was embedded; vecmigrate shadow build --trust-control goes on all the same",
        )


def prove_control(store: Store, encoder: Encoder, *, sample: int = 64, seed: int = 0) -> Provenance:
    """Re-embed a sample of chunks and compare with the vectors that the application stored. Reads only."""
    version = control_version(store, encoder.model)
    return judged(version, encoder, cosines_of_sample(store, version, encoder, sample, seed))


def judged(version: IndexVersion, encoder: Encoder, cosines: Mapping[str, float]) -> Provenance:
    """What cosines between stored vectors of `version` and their texts re-embedded say of the encoder, by chunk id."""
    unlike = tuple(sorted(i for i, c in cosines.items() if not c >= least_cosine(version)))
    ordered = sorted(cosines.values())
    median = round(ordered[len(ordered) // 2], 4) if ordered else None
    return Provenance(encoder.model.name, len(ordered), len(ordered) - len(unlike), median, unlike)
