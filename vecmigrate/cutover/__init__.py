"""Move readers to another version, or back, or destroy a version that is no longer wanted."""

from vecmigrate.cutover.checks import Check, Evidence, Preflight, preflight
from vecmigrate.cutover.disposal import cancel, retire
from vecmigrate.cutover.plan import CutoverPlan, make_plan
from vecmigrate.cutover.switch import Flip, flip, last_flip, rollback_target

__all__ = [
    "Check",
    "CutoverPlan",
    "Evidence",
    "Flip",
    "Preflight",
    "cancel",
    "flip",
    "last_flip",
    "make_plan",
    "preflight",
    "retire",
    "rollback_target",
]
