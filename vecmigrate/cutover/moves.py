"""Bring a version up to date, flip, and bring in what was written in the moment of the flip; forth, and back.

    cutover     sync ─► flip ─► sync                      the checks of `preflight` were made before
    rollback    sync, verify ─► flip ─► sync              nothing of it may keep an operator from going back who accepts what is missing

A flip that committed is reported as such, whatever goes wrong after it.
"""

from __future__ import annotations

from dataclasses import dataclass

from vecmigrate.cutover.switch import Flip, flip
from vecmigrate.encoding.encoder import Encoder, EncoderSource
from vecmigrate.errors import PreflightRefused, VecmigrateError
from vecmigrate.reindex import Verification, as_it_serves, holder_of, nothing_lost, sync, verify
from vecmigrate.store import Store
from vecmigrate.versions import SEARCHABLE, IndexVersion, State


@dataclass(frozen=True, slots=True)
class Move:
    """The flip, and how complete the version is after it. `warning` says what kept it from being brought up to date, or measured."""

    flip: Flip
    missing: int | None
    stale: int | None
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: `reason` is `cutover` or `rollback`, with a remark after a colon where there is one."""

    target: IndexVersion
    expect_epoch: int
    actor: str
    reason: str


def catch_up(store: Store, version: IndexVersion, encoders: EncoderSource, *, actor: str = "") -> None:
    """Bring a version of ours up to date, or the one whose vectors it shares. The encoder is loaded only when something is behind; v0 is the
    application's.
    """
    version = holder_of(store, version)
    if version.number and version.state in SEARCHABLE and not store.differences(version, sample=0).clean:
        sync(store, version, encoders.encoder_for(version), actor=actor)


def move(store: Store, encoders: EncoderSource, order: Order) -> Move:
    """Flip, then catch up. Raises what the flip raises; what fails after it is the answer's `warning`."""
    done = flip(store, order.target.number, expect_epoch=order.expect_epoch, actor=order.actor, reason=order.reason)
    warning = ""
    try:
        catch_up(store, order.target, encoders, actor=order.actor)
    except VecmigrateError as error:
        warning = f"readers were moved, but what was written since could not be brought in: {error.message}"
    try:
        found = store.differences(order.target, sample=0)
    except VecmigrateError as error:
        return Move(done, None, None, warning or f"readers were moved, but the version could not be looked at: {error.message}")
    return Move(done, found.n_missing, found.n_stale, warning)


def require_served(target: IndexVersion) -> None:
    """Raise `PreflightRefused` for a version that can't be gone back to: the gate is not passed by going round it."""
    if target.state is State.STANDBY:
        return
    why = "it was destroyed" if target.state is State.RETIRED else "it never served"
    hint = (
        f"vecmigrate cutover {target.label}" if target.state is State.READY else "vecmigrate rollback --to a standby of vecmigrate status"
    )
    raise PreflightRefused(f"{target.name} is {target.state}: {why}", hint=hint)


def doubts_about_going_back(store: Store, target: IndexVersion, encoders: EncoderSource, *, actor: str = "") -> tuple[str, ...]:
    """What speaks against going back to a standby: one sentence each, none when it is complete and made by its model.

    Raises `PreflightRefused` as `require_served` does.
    """
    require_served(target)
    doubts: list[str] = []
    try:
        catch_up(store, target, encoders, actor=actor)
    except VecmigrateError as error:
        doubts.append(f"it could not be brought up to date: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    encoder: Encoder | None = None
    try:
        encoder = encoders.encoder_for(target)
    except VecmigrateError as error:
        doubts.append(f"queries could not be encoded for it here: {error.message}")
    return (*doubts, *_as_it_served(store, verify(store, target, encoder)).problems)


def _as_it_served(store: Store, found: Verification) -> Verification:
    """The application's own vectors are held to what they served with before; where they serve now, to nothing more than that."""
    if found.version.holder:
        return found
    pointer = store.pointer()
    serving = next((v.holder for v in store.versions() if pointer is not None and v.number == pointer.active), None)
    return nothing_lost(found) if serving == 0 else as_it_serves(found)
