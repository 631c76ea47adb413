"""What must hold before readers are moved. Every check is made and told, not only the first that fails."""

from __future__ import annotations

from dataclasses import dataclass

from vecmigrate.errors import GateFailed, PreflightRefused
from vecmigrate.evaluation import Comparison, GateResult
from vecmigrate.reindex import Verification
from vecmigrate.versions import IndexVersion, Pointer, State

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


def preflight(
    target: IndexVersion,
    pointer: Pointer,
    verification: Verification,
    *,
    comparison: Comparison | None,
    gate: GateResult | None,
) -> Preflight:
    """Check that `target` may serve. A version that served before (STANDBY) needs no comparison: going back must stay possible."""
    checks = [_state(target, pointer), _complete(verification)]
    if target.state is State.READY:
        checks.append(_compared(target, comparison, gate))
    return Preflight(tuple(checks))


def _state(target: IndexVersion, pointer: Pointer) -> Check:
    ok = target.state in MAY_SERVE or target.number == pointer.active
    return Check("state", ok, f"{target.name} is {target.state}", f"vecmigrate shadow build {target.label}")


def _complete(verification: Verification) -> Check:
    found = verification.differences
    seen = "; ".join(verification.problems) or f"{found.present} of {found.expected} rows, {verification.sampled} sampled vectors equal"
    hint = f"vecmigrate shadow sync {verification.version.label}, then vecmigrate verify {verification.version.label}"
    return Check("complete", verification.ok, seen, hint)


def _compared(target: IndexVersion, comparison: Comparison | None, gate: GateResult | None) -> Check:
    hint = f"vecmigrate compare {target.label} shows why; --no-gate overrides it, and is recorded"
    if comparison is None or gate is None:
        return Check(
            "gate",
            False,
            f"{target.name} has not been compared with the version that serves",
            f"vecmigrate compare {target.label}",
            gate=True,
        )
    if comparison.candidate_fingerprint != target.model.fingerprint:
        return Check("gate", False, "the last comparison was of another model", f"vecmigrate compare {target.label}", gate=True)
    return Check("gate", gate.passed, f"{gate.outcome} ({comparison.id})", hint, gate=True)
