"""Versions, states, pointer and history of one collection, kept in Chroma alone.

    epoch.00000001 … n    creating n+1 is the flip: one act, one winner; what is ACTIVE and STANDBY follows from the row of them
    events                rows `v2.000003`: `add` never replaces a row, so the first to write an id has made that step; all else follows

A state written before its version served is overruled by the epochs: a flip that races a step wins, whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from vecmigrate.errors import Conflict, NotFound, PreflightRefused, StalePlan, VecmigrateError
from vecmigrate.sharing import holder_for, refuse_while_shared
from vecmigrate.versions import (
    AnnParameters,
    AuditEvent,
    Element,
    IndexVersion,
    Metric,
    ModelVersion,
    Pointer,
    State,
    may_become,
)
from vecmigrate_chroma.driver import Driver
from vecmigrate_chroma.naming import epoch_name, events_name


@dataclass(frozen=True, slots=True)
class Epoch:
    """One change of the pointer."""

    number: int
    active: int
    previous: int | None
    fingerprint: str
    source: str
    at: datetime
    actor: str
    kind: str
    reason: str
    control: Mapping[str, Any]

    def as_event(self) -> AuditEvent:
        """What history shows."""
        detail = {"reason": self.reason, "previous": self.previous} if self.kind == "activate" else {"model": self.control["model"]["name"]}
        return AuditEvent(self.at, self.actor, self.kind, self.active, self.number, detail)


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a version. `epoch` is the pointer's when it was written."""

    version: int
    place: int
    kind: str
    at: datetime
    actor: str
    epoch: int
    detail: Mapping[str, Any]

    def as_event(self) -> AuditEvent:
        """What history shows."""
        shown = {"model": self.detail["model"]["name"]} if self.kind == "create" else self.detail
        if self.kind == "create" and self.detail.get("shares"):
            shown = {**shown, "shares": self.detail["shares"]}
        return AuditEvent(self.at, self.actor, self.kind, self.version, None, shown)


def state_of(version: int, steps: Sequence[Step], epochs: Sequence[Epoch]) -> State:
    """The state that follows from a version's own steps and the row of epochs."""
    if epochs and epochs[-1].active == version:
        return State.ACTIVE
    own = [step for step in steps if step.kind == "state"]
    left = max((epoch.number for epoch in epochs if epoch.previous == version), default=0)
    if left and (not own or own[-1].epoch < left):
        return State.STANDBY
    return State(own[-1].detail["to"]) if own else State.PLANNED


class Ledger:
    """What is written down about one collection. Epochs never change, so those read once are kept."""

    def __init__(self, driver: Driver, collection: str, source: str) -> None:
        self._driver = driver
        self._collection = collection
        self._source = source
        self._epochs: tuple[Epoch, ...] = ()
        self._events: Any | None = None

    # Reading.

    def epochs(self) -> tuple[Epoch, ...]:
        """Every epoch, oldest first: one look for a further one, where the others are known. Safe among threads."""
        known = self._epochs
        while (found := self._driver.find(epoch_name(self._collection, len(known) + 1))) is not None:
            known = (*known, _epoch(found.metadata))
        if known and known[0].source != self._source:
            raise PreflightRefused(
                f"{self._collection} in {self._driver.place} belongs to collection {known[0].source!r}, not {self._source!r}",
                hint="give this source another collection name in [store]",
            )
        if len(known) > len(self._epochs):
            self._epochs = known
        return known

    def pointer(self) -> Pointer | None:
        """The last epoch as a pointer."""
        epochs = self.epochs()
        return Pointer(self._collection, epochs[-1].active, epochs[-1].previous, epochs[-1].number) if epochs else None

    def steps(self) -> dict[int, list[Step]]:
        """Every version's steps by number, in order. v0 has none of its own until it is retired."""
        found: dict[int, list[Step]] = {}
        events = self._opened_events()
        if events is None:
            return found
        rows = self._driver.call("reading the events", lambda: events.get(include=["documents"]))
        for id, document in sorted(zip(rows["ids"], rows["documents"], strict=True)):
            step = _step(id, document)
            found.setdefault(step.version, []).append(step)
        return found

    def versions(self) -> list[IndexVersion]:
        """Every version, by number, with states as they follow."""
        epochs = self.epochs()
        return self._versions(epochs, self.steps()) if epochs else []

    def version(self, number: int) -> IndexVersion:
        """One version. Raises `NotFound`."""
        return self._one(self.versions(), number)

    def _versions(self, epochs: Sequence[Epoch], steps: Mapping[int, Sequence[Step]]) -> list[IndexVersion]:
        control = self._version(0, epochs[0].control, steps.get(0, []), epochs, epochs[0].at)
        ours = [self._version(n, steps[n][0].detail, steps[n], epochs, steps[n][0].at) for n in sorted(steps) if n]
        return [control, *ours]

    def _one(self, versions: Sequence[IndexVersion], number: int) -> IndexVersion:
        for version in versions:
            if version.number == number:
                return version
        raise NotFound(f"{self._collection}@v{number} is not registered", hint="vecmigrate status lists the versions")

    def history(self) -> list[AuditEvent]:
        """Epochs and steps by time."""
        steps = [step.as_event() for of_one in self.steps().values() for step in of_one]
        return sorted([*(epoch.as_event() for epoch in self.epochs()), *steps], key=lambda event: event.at)

    # Writing. Each either happens, once, or raises.

    def adopt(self, control: Mapping[str, Any], *, actor: str) -> None:
        """Write epoch 1, with v0's record; when it is there already, nothing."""
        at, fingerprint = self._driver.now(), control["model"]["fingerprint"]
        self._open_epoch(Epoch(1, 0, None, fingerprint, self._source, at, actor, "adopt", "", control))

    def register_sharing(self, model: ModelVersion, shares: str, *, actor: str) -> IndexVersion:
        """As `register`, of a version that searches the vectors of another.

        Chroma has no transaction, so the holder's row of steps decides: this takes the next place in it, and whoever destroys the holder
        takes one too. Of two at once one finds the place taken, or the other's step before its own.
        """
        holder = holder_for(self.versions(), model, shares)
        version = self.register({**_as_recorded(holder), "model": model.to_dict(), "shares": holder.name}, actor=actor)
        self.record("share", holder, actor=actor, detail={"by": version.name})
        try:
            holder_for(self.versions(), model, shares)
        except VecmigrateError:
            self.advance(version, State.CANCELLED, actor=actor, note=f"{holder.name} went at the same moment")
            raise
        return version

    def register(self, record: Mapping[str, Any], *, actor: str) -> IndexVersion:
        """Take the next version number for this record."""
        while True:
            number = max(self.steps(), default=0) + 1
            step = self._write(number, 0, "create", actor, record)
            if step is not None:
                return self._version(number, record, [step], self._epochs, step.at)

    def advance(self, version: IndexVersion, to: State, *, actor: str, note: str) -> IndexVersion:
        """Compare-and-set of a state. Raises `Conflict`."""
        epochs, steps = self.epochs(), self.steps()
        now, own = self._one(self._versions(epochs, steps), version.number), steps.get(version.number, [])
        if now.state is not version.state or State.ACTIVE in (now.state, to) or not may_become(now.state, to):
            raise Conflict(
                f"{now.name} is {now.state} and cannot go from {version.state} to {to}", hint="vecmigrate status shows the states"
            )
        refuse_while_shared(self._versions(epochs, steps), now, to)
        detail = {"from": str(now.state), "to": str(to), "note": note}
        if self._write(now.number, own[-1].place + 1 if own else 1, "state", actor, detail, len(epochs)) is None:
            raise Conflict(f"another operator moved {now.name} at the same moment", hint="vecmigrate status shows the states")
        return replace(now, state=to, note=note or now.note)

    def note_drop(self, version: IndexVersion, *, actor: str) -> None:
        """Write down that the storage has gone, once."""
        steps = self.steps().get(version.number, [])
        if steps and not any(step.kind == "drop" for step in steps):
            self._write(version.number, steps[-1].place + 1, "drop", actor, {})

    def record(self, kind: str, version: IndexVersion, *, actor: str, detail: Mapping[str, Any]) -> None:
        """Add an event to a version's; one that took the place meanwhile pushes it further. Raises `NotFound`."""
        written = None
        while written is None:
            steps = self.steps()
            own = steps.get(self._one(self._versions(self.epochs(), steps), version.number).number, [])
            written = self._write(version.number, own[-1].place + 1 if own else 1, kind, actor, detail)

    def activate(self, number: int, *, expect_epoch: int, actor: str, reason: str) -> Pointer:
        """Open the next epoch. Raises `NotFound`, `StalePlan` and `Conflict`."""
        now = self.pointer()
        if now is None:
            raise NotFound(f"{self._collection} has no pointer", hint="adopt its own model first")
        target = self.version(number)
        if now.active == number and now.epoch in (expect_epoch, expect_epoch + 1):
            return now
        if now.epoch != expect_epoch:
            raise StalePlan(f"{self._collection} is at epoch {now.epoch}, not {expect_epoch}", hint="vecmigrate plan makes a new plan")
        if not may_become(target.state, State.ACTIVE):
            raise Conflict(f"{target.name} is {target.state}", hint="only a ready or standby version can be activated")
        at, fingerprint = self._driver.now(), target.model.fingerprint
        self._open_epoch(Epoch(now.epoch + 1, number, now.active, fingerprint, self._source, at, actor, "activate", reason, {}))
        reached = self.epochs()[now.epoch]
        if reached.active != number:
            raise StalePlan(f"another operator moved {self._collection} to v{reached.active}", hint="vecmigrate plan makes a new plan")
        return Pointer(self._collection, reached.active, reached.previous, reached.number)

    def _open_epoch(self, epoch: Epoch) -> None:
        self._driver.create(
            epoch_name(self._collection, epoch.number),
            {
                "vecmigrate": "epoch",
                "collection": self._collection,
                "source": epoch.source,
                "epoch": epoch.number,
                "active": epoch.active,
                "previous": -1 if epoch.previous is None else epoch.previous,
                "fingerprint": epoch.fingerprint,
                "at": epoch.at.isoformat(),
                "actor": epoch.actor,
                "kind": epoch.kind,
                "reason": epoch.reason,
                "control": json.dumps(epoch.control),
            },
        )

    def _write(self, version: int, place: int, kind: str, actor: str, detail: Mapping[str, Any], epoch: int = 0) -> Step | None:
        """Write a step; None when that place is taken: Chroma's `add` keeps the first row of an id, and reading it tells whose it is."""
        events, id, at = self._created_events(), f"v{version}.{place:06}", self._driver.now()
        content = {"kind": kind, "at": at.isoformat(), "actor": actor, "epoch": epoch, "detail": detail, "attempt": uuid4().hex}
        row = {"ids": [id], "embeddings": [[1.0]], "documents": [json.dumps(content)], "metadatas": [{"version": version, "kind": kind}]}
        self._driver.call("writing an event", lambda: events.add(**row))
        kept = self._driver.call("reading an event", lambda: events.get(ids=[id], include=["documents"]))
        won = bool(kept["documents"]) and json.loads(kept["documents"][0])["attempt"] == content["attempt"]
        return Step(version, place, kind, at, actor, epoch, detail) if won else None

    def _opened_events(self) -> Any | None:
        if self._events is None:
            self._events = self._driver.find(events_name(self._collection))
        return self._events

    def _created_events(self) -> Any:
        name = events_name(self._collection)
        events = self._opened_events() or self._driver.create(name, {"vecmigrate": "events"}) or self._opened_events()
        if events is None:
            raise Conflict(f"collection {name!r} is gone", hint="run the command again")
        return events

    def _version(
        self, number: int, record: Mapping[str, Any], steps: Sequence[Step], epochs: Sequence[Epoch], created: datetime
    ) -> IndexVersion:
        notes = [str(step.detail["note"]) for step in steps if step.kind == "state" and step.detail.get("note")]
        shares = str(record.get("shares", ""))
        return IndexVersion(
            collection=self._collection,
            number=number,
            model=ModelVersion.from_dict(record["model"]),
            metric=Metric(record["metric"]),
            state=state_of(number, steps, epochs),
            element=Element.FLOAT32,
            ann=AnnParameters(**record["ann"]),
            location=record["location"] if number == 0 or shares else f"vecmigrate.{self._collection}.v{number}",
            created_at=created,
            note=notes[-1] if notes else "",
            shares=shares,
        )


def _as_recorded(version: IndexVersion) -> dict[str, Any]:
    """Where a version's vectors are and how they are indexed, as its record says it."""
    return {"metric": str(version.metric), "ann": asdict(version.ann), "location": version.location}


def _epoch(metadata: Mapping[str, Any]) -> Epoch:
    return Epoch(
        number=int(metadata["epoch"]),
        active=int(metadata["active"]),
        previous=None if metadata["previous"] < 0 else int(metadata["previous"]),
        fingerprint=str(metadata["fingerprint"]),
        source=str(metadata["source"]),
        at=datetime.fromisoformat(metadata["at"]),
        actor=str(metadata["actor"]),
        kind=str(metadata["kind"]),
        reason=str(metadata["reason"]),
        control=json.loads(metadata["control"]),
    )


def _step(id: str, document: str) -> Step:
    version, _, place = id.removeprefix("v").partition(".")
    written = json.loads(document)
    at = datetime.fromisoformat(written["at"])
    return Step(int(version), int(place), written["kind"], at, written["actor"], int(written["epoch"]), written["detail"])
