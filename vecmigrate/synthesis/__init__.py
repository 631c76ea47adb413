"""Queries made from the chunks, for training where users' are few or none. Each says of itself that nobody asked it.

local_queries | endpoint_queries ─► synthesise ─► JudgedLog ─► build_dataset(…, synthetic=…)
"""

from vecmigrate.synthesis.asking import endpoint_queries
from vecmigrate.synthesis.local import local_queries
from vecmigrate.synthesis.making import synthesise
from vecmigrate.synthesis.marking import is_synthetic
from vecmigrate.synthesis.report import SynthesisReport

__all__ = ["SynthesisReport", "endpoint_queries", "is_synthetic", "local_queries", "synthesise"]
