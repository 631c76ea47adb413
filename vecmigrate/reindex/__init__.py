"""Fill an index version beside the live one, keep it up to date, and prove that it is complete."""

from vecmigrate.reindex.backfill import BuildReport, Progress, build, refuse_mass_deletion, sync
from vecmigrate.reindex.bringing import bring_in
from vecmigrate.reindex.following import verify_following
from vecmigrate.reindex.provenance import Provenance, prove_control
from vecmigrate.reindex.sharing import holder_of, prove_sharing, require_shared, vectors_to_share
from vecmigrate.reindex.verification import Verification, as_it_serves, nothing_lost, verify

__all__ = [
    "BuildReport",
    "Progress",
    "Provenance",
    "Verification",
    "as_it_serves",
    "bring_in",
    "build",
    "holder_of",
    "nothing_lost",
    "prove_control",
    "prove_sharing",
    "refuse_mass_deletion",
    "require_shared",
    "sync",
    "vectors_to_share",
    "verify",
    "verify_following",
]
