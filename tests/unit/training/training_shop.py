"""A small shop's error codes: what the stock model can't know and a few wordings can teach."""

from __future__ import annotations

from vecmigrate.config import EncodingSection, TrainingSection
from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.records import Judgment, Query

CODES = {
    "zx-1": "Restart the printer and load new paper into the upper tray.",
    "qv-7": "Call the lift engineer and keep the doors closed until she comes.",
    "mb-3": "Defrost the freezer, then set its thermostat to minus eighteen.",
    "kd-9": "Pump the tyres of the delivery van to three bar.",
    "ht-4": "Change the battery of the smoke detector in the corridor.",
    "wp-2": "Reset the router and wait until its green lamp is steady.",
    "jr-5": "Descale the coffee machine with citric acid.",
    "nf-8": "Book the overtime of the night shift on the other account.",
}
WORDINGS = ("error {} what to do", "the display says {}", "{} again, help")
ASKED = ("got a {} this morning", "there is {} on it", "why {}")
ONE_THREAD = EncodingSection(threads=1, device="cpu")
QUICK = TrainingSection(
    rungs=("full",),
    loss="ranking",
    epochs=1,
    batch_size=4,
    learning_rate=1e-3,
    evaluations_per_epoch=2,
    max_tokens=32,
    probe="none",
    interpolate=False,
    precision="float32",
)


def pairs_of(codes: dict[str, str], *, answers: dict[str, str] | None = None) -> list[TrainingPair]:
    told = answers or {code: code for code in codes}
    return [
        TrainingPair(f"{code}-{number}", told[code], wording.format(code), codes[told[code]])
        for number, wording in enumerate(WORDINGS)
        for code in codes
    ]


def dev_set() -> DevSet:
    asked = [(f"dev-{code}-{number}", code, wording.format(code)) for code in CODES for number, wording in enumerate(ASKED)]
    queries = tuple(Query(id, text, group=code) for id, code, text in asked)
    return DevSet(queries, tuple(Judgment(id, code, 1.0) for id, code, _ in asked), dict(CODES))
