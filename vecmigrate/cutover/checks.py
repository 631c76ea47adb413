"""What must hold before readers are moved. Every check is made and told, not only the first that fails."""

from __future__ import annotations

from dataclasses import dataclass

from vecmigrate.errors import GateFailed, PreflightRefused
from vecmigrate.evaluation import Comparison, GateResult
from vecmigrate.reindex import Verification, as_it_serves, nothing_lost, refuse_mass_deletion
from vecmigrate.versions import IndexVersion, State

MAY_SERVE = frozenset({State.READY, State.STANDBY})


@dataclass(frozen=True, slots=True)
class Check:
    """One condition, whether it holds, what was seen, and what to do if it doesn't. `gate` marks the comparison's conditions."""

    name: str
    ok: bool
    seen: str
    hint: str = ""
    gate: bool = False


@dataclass(frozen=True, slots=True)
class Preflight:
    """The outcome of all checks."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Every check holds."""
        return all(c.ok for c in self.checks)

    def require(self) -> None:
        """Raise for what doesn't hold: `PreflightRefused`, or `GateFailed` when it is the comparison alone that says no."""
        failed = [c for c in self.checks if not c.ok]
        if not failed:
            return
        error = GateFailed if all(c.gate for c in failed) else PreflightRefused
        hints = [c.hint for c in failed if c.hint]
        raise error("; ".join(f"{c.name}: {c.seen}" for c in failed), hint=hints[0] if hints else "")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the comparison says of a candidate: the latest one for its model, the gate's word on it, and the dataset (hash) that the
    model was trained on, whose test queries alone are unseen; empty for a model that was not trained here.
    """

    comparison: Comparison | None = None
    gate: GateResult | None = None
    trained_on: str = ""


def preflight(
    target: IndexVersion, active: IndexVersion, verification: Verification, evidence: Evidence, *, before_sync: bool = False
) -> Preflight:
    """Check that `target` may serve in place of `active`; `before_sync`, rows that the cutover's own sync brings in are not held against it.

    A version that served before (STANDBY) needs no comparison: going back must stay possible. One that searches the application's own
    vectors is held to what these served with before.
    """
    checks = [_state(target), _complete(target, active, verification, before_sync)]
    if target.state is State.READY:
        checks.append(_compared(target, active, evidence))
    return Preflight(tuple(checks))


def _state(target: IndexVersion) -> Check:
    return Check(
        "state", target.state in MAY_SERVE, f"{target.name} is {target.state}", f"vecmigrate shadow build --model {target.model.name}"
    )


def _complete(target: IndexVersion, active: IndexVersion, verification: Verification, before_sync: bool) -> Check:
    if target.shares and not target.holder:
        verification = as_it_serves(verification) if active.holder else nothing_lost(verification)
    found = verification.differences
    if before_sync and verification.only_behind:
        return _brought_up_to_date(verification)
    seen = "; ".join(verification.problems) or f"{found.present} of {found.expected} rows, {verification.sampled} sampled vectors equal"
    hint = f"vecmigrate shadow sync v{target.holder}, then vecmigrate verify {target.label}"
    if not target.holder:
        hint = f"have the application fill its own vectors for these rows, then vecmigrate verify {target.label}"
    return Check("complete", verification.ok, seen, hint)


def _brought_up_to_date(verification: Verification) -> Check:
    """What the cutover's own sync will do about rows that are behind; it removes no more than a fifth of a version unasked."""
    try:
        refuse_mass_deletion(verification.version, verification.differences)
    except PreflightRefused as error:
        return Check("complete", False, error.message, error.hint)
    return Check("complete", True, f"{'; '.join(verification.problems)}: brought up to date first")


def _compared(target: IndexVersion, active: IndexVersion, evidence: Evidence) -> Check:
    comparison, gate = evidence.comparison, evidence.gate
    if comparison is None or gate is None:
        seen = f"{target.name} has not been compared with {active.name}, which serves"
        return Check("gate", False, seen, f"vecmigrate compare {target.label}", gate=True)
    other = _about_another(target, active, comparison, evidence.trained_on)
    if other:
        return Check("gate", False, f"comparison {comparison.id} was {other}", f"vecmigrate compare {target.label}", gate=True)
    hint = f"vecmigrate compare {target.label} shows why; --no-gate goes on all the same, and is recorded"
    return Check("gate", gate.passed, f"{gate.outcome} ({comparison.id})", hint, gate=True)


def _about_another(target: IndexVersion, active: IndexVersion, comparison: Comparison, trained_on: str) -> str:
    """In what the comparison is not about this move; empty when it is."""
    candidate, control = comparison.candidate, comparison.control
    if comparison.collection != target.collection:
        return f"of collection {comparison.collection}"
    if (candidate.label, candidate.fingerprint) != (target.label, target.model.fingerprint):
        return f"of {candidate.version} with model {candidate.fingerprint[:12]}, not of {target.name}"
    if (control.label, control.fingerprint) != (active.label, active.model.fingerprint):
        return f"against {control.version}, not against {active.name}, which serves"
    if trained_on and comparison.dataset_hash != trained_on:
        return f"on dataset {comparison.dataset_hash[:12]}, not on {trained_on[:12]}, whose test queries the training never saw"
    return ""
