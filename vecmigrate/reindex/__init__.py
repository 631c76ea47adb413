"""Fill an index version beside the live one, keep it up to date, and prove that it is complete."""

from vecmigrate.reindex.backfill import BuildReport, Progress, build, refuse_mass_deletion, sync
from vecmigrate.reindex.bringing import bring_in
from vecmigrate.reindex.following import verify_following
from vecmigrate.reindex.provenance import Provenance, prove_control
from vecmigrate.reindex.verification import Verification, verify

__all__ = [
    "BuildReport",
    "Progress",
    "Provenance",
    "Verification",
    "bring_in",
    "build",
    "prove_control",
    "refuse_mass_deletion",
    "sync",
    "verify",
    "verify_following",
]
