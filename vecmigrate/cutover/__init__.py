"""Move readers to another version, or back, or destroy a version that is no longer wanted."""

from vecmigrate.cutover.checks import Check, Evidence, Preflight, preflight
from vecmigrate.cutover.disposal import cancel, retire
from vecmigrate.cutover.moves import Move, Order, catch_up, doubts_about_going_back, move, require_served
from vecmigrate.cutover.plan import CutoverPlan, make_plan
from vecmigrate.cutover.switch import Flip, flip, last_flip, rollback_target, ways_back

__all__ = [
    "Check",
    "CutoverPlan",
    "Evidence",
    "Flip",
    "Move",
    "Order",
    "Preflight",
    "cancel",
    "catch_up",
    "doubts_about_going_back",
    "flip",
    "last_flip",
    "make_plan",
    "move",
    "preflight",
    "require_served",
    "retire",
    "rollback_target",
    "ways_back",
]
