"""Versions that search another version's vectors: which vectors a model may share, and what keeps those from going meanwhile. Pure.

    docs@v0   base model                 vectors ◄──────────┐
    docs@v1   base model, tuned queries  shares docs@v0  ───┘   no table, no index, nothing to keep up to date

The version that has the vectors is their *holder*. It is kept up as ever, whichever of both serves, so that each is the other's way back.
"""

from __future__ import annotations

from collections.abc import Sequence

from vecmigrate.errors import NotFound, PreflightRefused, UsageError, WrongSpace
from vecmigrate.versions import COMPLETE, GONE, IndexVersion, ModelVersion, State, parse_version

LEAVING = frozenset({State.RETIRED, State.CANCELLED, State.FAILED})
"""States in which nobody keeps a version up to date any more."""


def holder_among(versions: Sequence[IndexVersion], version: IndexVersion) -> IndexVersion:
    """The version that has the vectors which `version` searches: itself, where it shares none. Raises `NotFound`."""
    if not version.shares:
        return version
    for other in versions:
        if other.number == version.holder:
            return other
    raise NotFound(f"{version.shares}, whose vectors {version.name} shares, is not registered", hint="vecmigrate status lists the versions")


def sharers_of(versions: Sequence[IndexVersion], version: IndexVersion) -> list[IndexVersion]:
    """The versions that have not gone and search the vectors of `version`."""
    return [v for v in versions if v.shares and v.holder == version.number and v.state not in GONE]


def holder_for(versions: Sequence[IndexVersion], model: ModelVersion, shares: str) -> IndexVersion:
    """The version whose vectors a new version of `model` is to search, by a label that may name a sharing version too.

    Raises `UsageError` and `NotFound` for the label, `PreflightRefused` for vectors that are not complete or not kept up, `WrongSpace` for
    a model whose document vectors are others.
    """
    try:
        number = parse_version(shares)
    except ValueError as error:
        raise UsageError(str(error), hint="vecmigrate status lists the versions") from error
    named = next((v for v in versions if v.number == number), None)
    if named is None:
        raise NotFound(f"there is no version v{number} to share vectors with", hint="vecmigrate status lists the versions")
    holder = holder_among(versions, named)
    if holder.state not in COMPLETE:
        raise PreflightRefused(
            f"{holder.name} is {holder.state}: only vectors that are complete and kept up are shared",
            hint=f"vecmigrate shadow build --model {model.name} --own-vectors",
        )
    _refuse_other_documents(holder, model)
    return holder


def _refuse_other_documents(holder: IndexVersion, model: ModelVersion) -> None:
    wanted = ("document_fingerprint", "dimension", "precision", "document_prompt")
    for trait in wanted:
        ours, theirs = getattr(model, trait), getattr(holder.model, trait)
        if ours != theirs:
            raise WrongSpace(
                f"the documents of {model.name} are not those of {holder.name}: {trait} {ours!r}, not {theirs!r}",
                hint=f"vecmigrate shadow build --model {model.name} --own-vectors",
            )


def refuse_while_shared(versions: Sequence[IndexVersion], version: IndexVersion, to: State) -> None:
    """Raise `PreflightRefused` when `version` would go, or fail, under a version that searches its vectors."""
    others = sharers_of(versions, version)
    if to not in LEAVING or not others:
        return
    names = ", ".join(f"{v.name} ({v.state})" for v in others)
    verb = "retire" if others[0].state is State.STANDBY else "shadow drop"
    first = "vecmigrate rollback, then retire it" if others[0].state is State.ACTIVE else f"vecmigrate {verb} {others[0].label}"
    raise PreflightRefused(f"{version.name} can't become {to}: its vectors are shared by {names}", hint=f"{first} first")


def refuse_writing(version: IndexVersion, what: str) -> None:
    """Raise `PreflightRefused` for a version that has no vectors of its own to be `what`: written to, deleted from."""
    if version.shares:
        raise PreflightRefused(
            f"{version.name} shares the vectors of {version.shares} and is never {what}", hint=f"name {version.shares.rpartition('@')[2]}"
        )
