"""A plan: what a cutover will do, what undoes it, what can't be guaranteed, bound to the store's epoch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from vecmigrate.cutover.checks import Preflight
from vecmigrate.errors import StalePlan, UsageError
from vecmigrate.store import Capability, Store
from vecmigrate.versions import IndexVersion, Pointer

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CutoverPlan:
    """The pointer of `collection` goes from `source` to `target` if its epoch still is `expect_epoch`."""

    collection: str
    source: int
    target: int
    expect_epoch: int
    fingerprint: str
    steps: tuple[str, ...]
    undo: str
    cautions: tuple[str, ...]
    checks: tuple[str, ...]
    format: int = FORMAT

    def check(self, pointer: Pointer) -> None:
        """Raise `StalePlan` when the pointer moved since the plan was made."""
        if pointer.epoch != self.expect_epoch:
            raise StalePlan(
                f"the plan was made at epoch {self.expect_epoch}, {self.collection} is at epoch {pointer.epoch}",
                hint=f"vecmigrate plan v{self.target} makes a new one",
            )

    def save(self, path: Path) -> None:
        """Write the plan as JSON. Raises `UsageError` where that can't be."""
        try:
            path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", hint="--output names another file") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises `UsageError` naming the file."""
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']}, expected {FORMAT}")
            lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
            return cls(**lists)
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else error
            raise UsageError(f"{path} is not a plan: {why}", hint="vecmigrate plan VERSION -o plan.json writes one") from error


def make_plan(store: Store, target: IndexVersion, pointer: Pointer, checks: Preflight) -> CutoverPlan:
    """Say what moving readers to `target` does. Writes nothing."""
    return CutoverPlan(
        collection=store.collection,
        source=pointer.active,
        target=target.number,
        expect_epoch=pointer.epoch,
        fingerprint=target.model.fingerprint,
        steps=_steps(store, target, pointer),
        undo=f"vecmigrate rollback --to v{pointer.active} (no re-embedding; v{pointer.active} is kept until it is retired)",
        cautions=_cautions(store, target, pointer),
        checks=tuple(f"{'ok  ' if c.ok else 'FAIL'} {c.name}: {c.seen}" for c in checks.checks),
    )


def _steps(store: Store, target: IndexVersion, pointer: Pointer) -> tuple[str, ...]:
    together = "one transaction" if store.can(Capability.TRANSACTIONAL_FLIP).able else "one compare-and-set"
    return (
        _first_step(target),
        f"{together}: the pointer of {store.collection} goes from v{pointer.active} to {target.label}, epoch {pointer.epoch} to {pointer.epoch + 1}",
        f"readers that use the pointer encode with model {target.model.name} ({target.model.fingerprint[:12]}) from their next query on",
        f"v{pointer.active} stays as standby",
    )


def _first_step(target: IndexVersion) -> str:
    if not target.shares:
        return f"bring {target.name} up to date with the source, then verify it"
    kept = f"bring {target.shares} up to date with the source, then verify" if target.holder else "verify"
    return f"{kept} {target.name}, which shares the vectors of {target.shares}: nothing is re-embedded"


def _cautions(store: Store, target: IndexVersion, pointer: Pointer) -> tuple[str, ...]:
    cautions = [
        _holes(store, target, pointer.active),
        "applications that search their own table or collection, not through the pointer, stay on v0",
        _later_writes(store, target),
        store.can(Capability.CONCURRENT_PROCESSES).reason,
    ]
    return tuple(c for c in cautions if c)


def _later_writes(store: Store, target: IndexVersion) -> str:
    """What becomes of rows that are written while nobody syncs."""
    seen = store.can(Capability.CHANGE_CAPTURE)
    if seen.able or not target.holder:
        return ""
    return f"rows written after the last sync are not in {target.label} until vecmigrate shadow sync runs again: {seen.reason}"


def _holes(store: Store, target: IndexVersion, active: int) -> str:
    """What the application's own index lacks, which no sync of ours brings in: it would be missed after going back."""
    before = next(v for v in store.versions() if v.number == active)
    lacking = store.differences(before, sample=0).n_missing if target.holder and not before.holder else 0
    return f"{before.name} lacks {lacking} rows that have no vector there: going back to it will need --accept-missing" if lacking else ""
