"""The schema `vecmigrate`: which versions there are, in which state, which one serves, and what happened. Nothing before `adopt`.

Every change locks the collection's row first, so changes of one collection come one after the other, each with its audit event.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from psycopg import Connection, Cursor, sql
from psycopg.types.json import Jsonb

from vecmigrate.errors import Conflict, NotFound, PreflightRefused, StalePlan, VersionRetired, WrongSpace
from vecmigrate.sharing import holder_for, refuse_while_shared
from vecmigrate.store import Probe
from vecmigrate.versions import (
    GONE,
    TRANSITIONS,
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
from vecmigrate_pgvector.connection import Database, Row
from vecmigrate_pgvector.fragments import Fragments
from vecmigrate_pgvector.layout import Layout
from vecmigrate_pgvector.search_text import search_text
from vecmigrate_pgvector.statements import identifier, statement

Session = Connection[Row]


@dataclass(frozen=True, slots=True)
class Registry:
    """The state of one collection, in schema `fragments.state_schema`."""

    database: Database
    collection: str
    fragments: Fragments
    checked: threading.Event = field(default_factory=threading.Event)

    @property
    def schema(self) -> str:
        """Where the tables are."""
        return self.fragments.state_schema

    @property
    def layout(self) -> Layout:
        """The collection's table."""
        return self.fragments.layout

    def pointer(self) -> Pointer | None:
        """The serving pointer: one query by primary key."""
        rows = self._rows("pointer")
        return Pointer(self.collection, rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def versions(self) -> list[IndexVersion]:
        """All versions by number, without counts."""
        return self._all(self._rows("versions"))

    def history(self) -> list[AuditEvent]:
        """All events, oldest first."""
        return [AuditEvent(*row) for row in self._rows("history")]

    def adopt(self, model: ModelVersion, dimensions: Collection[int], *, actor: str) -> IndexVersion:
        """Make the schema if need be and register v0, whose vectors have these dimensions. Idempotent.

        Raises `Conflict` and `WrongSpace`.
        """
        if dimensions and model.dimension not in dimensions:
            shown = " and ".join(map(str, dimensions))
            raise WrongSpace(
                f"{model.name} has {model.dimension} dimensions, {self.layout.location} has {shown}",
                hint="name the model that made these vectors in [control]",
            )
        return self.database.write(lambda session: self._adopt(session, model, actor))

    def create(self, version: IndexVersion, session: Session, *, actor: str) -> IndexVersion:
        """Register a version under the next free number, within the caller's transaction. `version.number` is ignored."""
        self.lock(session)
        found = session.execute(self.statement("registered"), {"collection": self.collection}).fetchone()
        refuse_another_table(self.layout, self.collection, found or ())
        there = self._read(session)
        number = max(v.number for v in there) + 1
        location = f"{self.schema}.{self.collection}_v{number}"
        if version.shares:
            self._install_sharing(session)
            location = holder_for(there, version.model, version.shares).location
        self._add(session, replace(version, number=number, state=State.PLANNED, location=location))
        detail = {"model": version.model.name} | ({"shares": version.shares} if version.shares else {})
        self._note(session, "create", actor, number, None, detail)
        return self._one(session, number)

    def advance(self, version: IndexVersion, to: State, *, actor: str, note: str) -> IndexVersion:
        """Compare-and-set of the state. Raises `Conflict`."""

        def step(session: Session) -> IndexVersion:
            self.lock(session)
            now = self._one(session, version.number)
            if now.state is not version.state or State.ACTIVE in (now.state, to) or not may_become(now.state, to):
                raise Conflict(
                    f"{now.name} is {now.state} and cannot go from {version.state} to {to}",
                    hint="vecmigrate status shows where it stands; another command may have moved it",
                )
            refuse_while_shared(self._read(session), now, to)
            self._set_state(session, now, to, note)
            self._note(session, "state", actor, now.number, None, {"from": str(now.state), "to": str(to), "note": note})
            return self._one(session, now.number)

        return self.database.write(step, repeatable=False)

    def activate(self, number: int, *, expect_epoch: int, actor: str, reason: str) -> Pointer:
        """Flip in one transaction. Repeating it after it was committed does nothing."""

        def flip(session: Session) -> Pointer:
            session.execute(statement("state.short_waits"), {})
            now = self.lock(session)
            target = self._one(session, number)
            if now.active == number and now.epoch in (expect_epoch, expect_epoch + 1):
                return now
            if now.epoch != expect_epoch:
                raise StalePlan(f"{self.collection} is at epoch {now.epoch}, not {expect_epoch}", hint="vecmigrate plan, then try again")
            if not may_become(target.state, State.ACTIVE):
                raise Conflict(f"{target.name} is {target.state}", hint="only a ready or standby version can be activated")
            self._set_state(session, self._one(session, now.active), State.STANDBY, "")
            self._set_state(session, target, State.ACTIVE, "")
            row = self._fetch_one(session, "set_pointer", {"active": number})
            flipped = Pointer(self.collection, row[0], row[1], row[2])
            self._note(session, "activate", actor, number, flipped.epoch, {"previous": now.active, "reason": reason})
            return flipped

        return self.database.write(flip)

    def record(self, kind: str, version: IndexVersion, *, actor: str, detail: Mapping[str, Any]) -> None:
        """Add an event. Raises `NotFound` for a version that isn't registered."""

        def add(session: Session) -> None:
            self.lock(session)
            self._note(session, kind, actor, self._one(session, version.number).number, None, dict(detail))

        self.database.write(add, repeatable=False)

    def may_make(self) -> Probe:
        """Whether the role may make the schema, or tables in it."""
        able, made, role, database = self.database.rows(statement("state.may_make"), {"schema": self.schema})[0]
        if able:
            return Probe(True)
        if made:
            return Probe(False, f"role {role} may not make tables in schema {self.schema}: connect as its owner")
        wanted = f"GRANT CREATE ON DATABASE {database} TO {role}; or CREATE SCHEMA {self.schema} AUTHORIZATION {role}"
        return Probe(False, f"role {role} may not make schema {self.schema}, which shadow build needs: {wanted}")

    def note_drop(self, session: Session, number: int, *, actor: str) -> None:
        """The audit event of a version whose storage was freed."""
        self._note(session, "drop", actor, number, None, {})

    def note_drop_once(self, session: Session, number: int, *, actor: str) -> None:
        """As `note_drop`, of a version that had no storage whose absence would say that it was noted."""
        if not self._exists(session, "dropped", {"collection": self.collection, "version": number}):
            self.note_drop(session, number, actor=actor)

    def lock(self, session: Session) -> Pointer:
        """Lock the collection's row until the transaction ends. Raises `PreflightRefused` before adopt."""
        installed = self._exists(session, "installed", {"table": f"{self.schema}.collection"})
        query = self.statement("lock_collection")
        found = session.execute(query, {"collection": self.collection}).fetchone() if installed else None
        if found is None:
            raise PreflightRefused(f"{self.collection} has no control yet", hint="adopt its own model first: vecmigrate shadow build does")
        return Pointer(self.collection, found[0], found[1], found[2])

    def require_standing(self, session: Session, version: IndexVersion) -> None:
        """Raises `VersionRetired` when the version has gone, `NotFound` when it never was."""
        refuse_gone(version, self.ask_state(session, version).fetchone())

    def ask_state(self, session: Session, version: IndexVersion) -> Cursor[Row]:
        """Send the question that `refuse_gone` reads the answer of."""
        return session.execute(self.statement("state_of"), {"collection": self.collection, "number": version.number})

    def state(self, session: Session, number: int) -> State:
        """The stored state. Raises `NotFound`."""
        return self._one(session, number).state

    def statement(self, name: str) -> sql.Composed:
        """A block of state.sql with the schema filled in."""
        return statement(f"state.{name}", schema=identifier(self.schema))

    def _rows(self, name: str) -> list[Row]:
        """Of one of our tables; none before `adopt`. The first time it is also checked that the collection is this table's."""
        try:
            rows = self.database.rows(self.statement(name), {"collection": self.collection})
        except NotFound:
            return []
        if rows and not self.checked.is_set():
            found = self.database.rows(self.statement("registered"), {"collection": self.collection})
            refuse_another_table(self.layout, self.collection, found[0])
            self.checked.set()
        return rows

    # Inside one transaction.

    def _adopt(self, session: Session, model: ModelVersion, actor: str) -> IndexVersion:
        self._install(session)
        found = session.execute(self.statement("registered"), {"collection": self.collection}).fetchone()
        if found is None:
            self._register(session, model, actor)
        else:
            refuse_another_table(self.layout, self.collection, found)
        control = self._one(session, 0)
        if control.model.fingerprint != model.fingerprint:
            raise Conflict(
                f"{control.name} is registered under {control.model.name}, not {model.name}",
                hint="vecmigrate status shows it; the model of stored vectors doesn't change",
            )
        return control

    def _register(self, session: Session, model: ModelVersion, actor: str) -> None:
        layout = self.layout
        session.execute(
            self.statement("add_collection"),
            {
                "collection": self.collection,
                "source": layout.table.label,
                "source_oid": layout.table.oid,
                "settings": Jsonb(_described(layout)),
            },
        )
        control = IndexVersion(self.collection, 0, model, layout.metric, State.ACTIVE, layout.element, layout.ann, location=layout.location)
        self._add(session, control)
        self._note(session, "adopt", actor, 0, 1, {"model": model.name})

    def _install(self, session: Session) -> None:
        session.execute(statement("state.install_lock"), {"schema": self.schema})
        if not self._exists(session, "schema_exists", {"schema": self.schema}):
            session.execute(self.statement("create_schema"), {})
        if not self._exists(session, "installed", {"table": f"{self.schema}.collection"}):
            session.execute(self.statement("install"))
            vector = self.fragments.vector_type(Element.FLOAT32)
            session.execute(statement("state.search_function", schema=identifier(self.schema), vector=vector))
            for before, steps in TRANSITIONS.items():
                for after in sorted(steps):
                    session.execute(self.statement("add_transition"), {"before": str(before), "after": str(after)})
            self._install_sharing(session)

    def _install_sharing(self, session: Session) -> None:
        """Made with the schema, or by the first version that shares where the schema is older than that."""
        if not self._exists(session, "sharing_checked", {"schema": self.schema}):
            session.execute(self.statement("install_sharing"))

    def _exists(self, session: Session, name: str, parameters: dict[str, Any]) -> bool:
        row = session.execute(self.statement(name), parameters).fetchone()
        return bool(row and row[0])

    def _add(self, session: Session, version: IndexVersion) -> None:
        session.execute(
            self.statement("add_version"),
            {
                "collection": self.collection,
                "number": version.number,
                "state": str(version.state),
                "model": Jsonb(version.model.to_dict()),
                "fingerprint": version.model.fingerprint,
                "metric": str(version.metric),
                "element": str(version.element),
                "dimension": version.model.dimension,
                "ann": Jsonb(asdict(version.ann)),
                "location": version.location,
                "query": search_text(self.fragments, version),
            },
        )

    def _set_state(self, session: Session, version: IndexVersion, to: State, note: str) -> None:
        parameters = {"collection": self.collection, "number": version.number, "before": str(version.state), "after": str(to), "note": note}
        if session.execute(self.statement("set_state"), parameters).rowcount != 1:
            raise Conflict(f"{version.name} is no longer {version.state}", hint="vecmigrate status shows where it stands")

    def _note(self, session: Session, kind: str, actor: str, version: int, epoch: int | None, detail: dict[str, Any]) -> None:
        parameters = {
            "collection": self.collection,
            "actor": actor,
            "kind": kind,
            "version": version,
            "epoch": epoch,
            "detail": Jsonb(detail),
        }
        session.execute(self.statement("add_event"), parameters)

    def _read(self, session: Session) -> list[IndexVersion]:
        rows = session.execute(self.statement("versions"), {"collection": self.collection}).fetchall()
        return self._all(rows)

    def _all(self, rows: Sequence[Row]) -> list[IndexVersion]:
        """A version whose location is an earlier one's shares the vectors of that one: the location is never given to two for another reason."""
        first: dict[str, str] = {}
        found = [self._version(row) for row in rows]
        for version in found:
            first.setdefault(version.location, version.name)
        return [replace(v, shares="" if first[v.location] == v.name else first[v.location]) for v in found]

    def _one(self, session: Session, number: int) -> IndexVersion:
        for version in self._read(session):
            if version.number == number:
                return version
        raise NotFound(f"{self.collection}@v{number} is not registered", hint="vecmigrate status lists the versions")

    def _fetch_one(self, session: Session, name: str, parameters: dict[str, Any]) -> Row:
        row = session.execute(self.statement(name), {"collection": self.collection, **parameters}).fetchone()
        if row is None:
            raise NotFound(f"{self.collection} is not registered", hint="vecmigrate status")
        return row

    def _version(self, row: Sequence[Any]) -> IndexVersion:
        number, state, model, metric, element, ann, location, created_at, note = row
        return IndexVersion(
            collection=self.collection,
            number=number,
            model=ModelVersion.from_dict(model),
            metric=Metric(metric),
            state=State(state),
            element=Element(element),
            ann=AnnParameters(**ann),
            location=location,
            created_at=created_at,
            note=note,
        )


def refuse_gone(version: IndexVersion, row: Row | None) -> None:
    """Raises `NotFound` when there was no such version, `VersionRetired` when it has gone or its number is another model's now."""
    if row is None:
        raise NotFound(f"{version.name} is not registered", hint="vecmigrate status lists the versions")
    if State(row[0]) in GONE:
        raise VersionRetired(f"{version.name} is {row[0]}", hint="read the pointer again")
    if row[1] != version.model.fingerprint:
        raise VersionRetired(f"{version.name} is another model's now: the versions were made anew", hint="read the pointer again")


def refuse_another_table(layout: Layout, collection: str, registered: Sequence[Any]) -> None:
    """Raises `PreflightRefused` when the collection's name is another table's, or what was adopted is not what the settings say now."""
    source, oid, settings = registered
    if source != layout.table.label and oid != layout.table.oid:
        raise PreflightRefused(
            f"collection {collection} is registered for {source}, not {layout.table.label}",
            hint='give this table a name of its own: collection = "…" in [store]',
        )
    for what, value in _described(layout).items():
        if settings.get(what) != value:
            raise PreflightRefused(
                f"collection {collection} was adopted with {what} {settings.get(what)}, not {value}",
                hint=f"set {what} in [store] back, or adopt under another collection name",
            )


def _described(layout: Layout) -> dict[str, Any]:
    """What makes a collection the one that it is."""
    return {
        "key": [column.name for column in layout.key],
        "text": layout.text_label,
        "embedding": layout.embedding.name,
        "where": layout.where,
    }
