"""From a store without a query log to a judged log that nobody asked.

scan ─► draw ─► local | endpoint ─► filters ─► round trip with the control ─► JudgedLog, every query marked "synthetic: …"
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from vecmigrate.config import SynthesisSection
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import DataError
from vecmigrate.querylog.judgments import JudgedLog, length_slice
from vecmigrate.records import Judgment, Query
from vecmigrate.store import Store
from vecmigrate.synthesis.candidates import Candidate, Generated, Generator
from vecmigrate.synthesis.drawing import Drawn, draw_chunks
from vecmigrate.synthesis.filtering import filtered
from vecmigrate.synthesis.marking import slice_of, synthetic_id_of
from vecmigrate.synthesis.report import SynthesisReport
from vecmigrate.synthesis.round_trip import RoundTrip, found_again
from vecmigrate.versions import IndexVersion

FEW = 0.5
"""Below this share found again a warning says so: the queries, or the control, are not what they seem."""


def synthesise(store: Store, control: IndexVersion, encoder: Encoder, settings: SynthesisSection, generate: Generator) -> JudgedLog:
    """Make queries with `generate` and keep those that pass; each judged with grade 1 and `settings.weight` on the chunks it is made of.

    The same chunks, settings and answers give the same log. Raises `DataError` when no chunk is long enough to make a query of, and what
    the store, the encoder and the generator raise.
    """
    drawn = draw_chunks(store, settings.max_chunks, settings.seed)
    if not drawn.chunks:
        raise DataError(
            f"none of the {drawn.seen:,} chunks of {store.collection} is long enough to make a query of",
            hint="vecmigrate inspect shows what is in it",
        )
    made = generate(drawn)
    texts = {chunk.id: chunk.text for chunk in drawn.chunks}
    kept = filtered(made.candidates, texts, settings)
    trip = RoundTrip(store, control, encoder, drawn.seen, settings.round_trip)
    found = found_again(trip, kept.by_wording)
    lost = len(kept.by_wording) - len(found)
    reason = f"the control does not find the chunk that it was made from among its best {trip.depth}"
    dropped = {**kept.dropped, **({reason: lost} if lost else {})}
    few = bool(kept.by_wording) and len(found) < FEW * len(kept.by_wording)
    warnings = (f"{lost:,} of {len(kept.by_wording):,} did not pass the round trip: read some of them, and the prompt",) if few else ()
    return _log(found, settings.weight, _report(drawn, made, found, dropped, warnings))


def _report(
    drawn: Drawn, made: Generated, found: Mapping[str, Candidate], dropped: Mapping[str, int], warnings: tuple[str, ...]
) -> SynthesisReport:
    judgments = sum(len(candidate.chunk_ids) for candidate in found.values())
    return SynthesisReport(
        events=len(made.candidates),
        queries=len(found),
        judgments=judgments,
        positives=judgments,
        dropped_queries=dropped,
        set_aside={**drawn.passed_over, **made.unused},
        warnings=warnings,
        chunks=len(drawn.chunks),
        of=drawn.seen,
        by_kind=dict(sorted(Counter(candidate.kind for candidate in found.values()).items())),
        notes=made.lines,
    )


def _log(found: Mapping[str, Candidate], weight: float, report: SynthesisReport) -> JudgedLog:
    queries = [
        Query(synthetic_id_of(wording), candidate.text, slices=(slice_of(candidate.kind), length_slice(wording)))
        for wording, candidate in found.items()
    ]
    judgments = [Judgment(synthetic_id_of(wording), id, 1.0, weight) for wording, candidate in found.items() for id in candidate.chunk_ids]
    return JudgedLog(
        tuple(sorted(queries, key=lambda query: query.id)),
        tuple(sorted(judgments, key=lambda judgment: (judgment.query_id, judgment.chunk_id))),
        report,
    )
