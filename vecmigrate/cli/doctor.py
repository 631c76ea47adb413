"""`vecmigrate doctor`: check the environment, the store, privileges and models. Writes nothing."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import rich_click as click

from vecmigrate.errors import PreflightRefused, VecmigrateError

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session

PACKAGES = ("sentence-transformers", "torch", "transformers", "psycopg", "pgvector", "chromadb")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    seen: str
    hint: str = ""


@click.command("doctor")
@click.pass_obj
@click.pass_context
def doctor_command(ctx: click.Context, session: Session) -> None:
    """Check the environment, the configuration, the store, its capabilities and the models. Exit 1 when anything is wrong."""
    findings = [Finding("python", True, f"{platform.python_version()} on {platform.platform()}"), *_packages()]
    findings += [_try("device", _device), _try("configuration", lambda: str(session.config.root))]
    if findings[-1].ok:
        findings += [
            _try("store", lambda: _store(session)),
            _try("capabilities", lambda: _capabilities(session)),
            _try("control model", lambda: _control(session)),
            _try("serving model", lambda: _serving(session)),
            _try("workspace", lambda: _workspace(session)),
        ]
    ok = all(f.ok for f in findings)
    lines = [f"{'ok  ' if f.ok else 'FAIL'} {f.name}: {f.seen}" + (f"\n     hint: {f.hint}" if f.hint else "") for f in findings]
    session.emit({"ok": ok, "findings": [asdict(f) for f in findings]}, lines, following="vecmigrate inspect" if ok else "mend what FAILs")
    ctx.exit(0 if ok else 1)


def _packages() -> list[Finding]:
    return [Finding(name, True, _installed(name)) for name in PACKAGES]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed (an extra)"


def _try(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except VecmigrateError as error:
        return Finding(name, False, error.message, error.hint)
    except ImportError as error:
        return Finding(name, False, str(error), "pip install 'vecmigrate[train]'")


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, bf16 {'yes' if torch.cuda.is_bf16_supported() else 'no'}"
    return f"CPU, {torch.get_num_threads()} threads"


def _store(session: Session) -> str:
    found = session.store.inspect()
    warnings = "".join(f"\n     warning: {w}" for w in found.warnings)
    return f"{found.location}, {found.server}, {found.rows} rows{warnings}"


def _capabilities(session: Session) -> str:
    from vecmigrate.store import Capability

    probes = {c: session.store.can(c) for c in Capability}
    return "; ".join(c.value if p.able else f"not {c.value} ({p.reason})" for c, p in probes.items())


def _control(session: Session) -> str:
    """[control], which must be what v0 was adopted with, where there is one."""
    named = session.control.model
    for adopted in session.store.versions()[:1]:
        if adopted.model.fingerprint != named.fingerprint:
            raise PreflightRefused(
                f"[control] is {named.name} ({named.fingerprint[:12]}), {adopted.name} was adopted with {adopted.model.name}"
                f" ({adopted.model.fingerprint[:12]}), which is what builds and comparisons use",
                hint="name that model, its prompts and its precision in vecmigrate.toml",
            )
    return f"{named.name} ({named.fingerprint[:12]})"


def _serving(session: Session) -> str:
    """The model of the version that serves, loaded: without it no query is answered."""
    pointer = session.store.pointer()
    if pointer is None:
        return "no version yet: the application's own vectors serve"
    active = session.version(f"v{pointer.active}")
    session.encoders.encoder_for(active)
    return f"{active.model.name} ({active.model.fingerprint[:12]}), of {active.name}"


def _workspace(session: Session) -> str:
    path = session.folder("models").parent
    return f"{path}, {shutil.disk_usage(path).free / 2**30:.1f} GiB free"
