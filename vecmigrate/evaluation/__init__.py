"""Is the candidate better than the control, on the user's own queries, and how sure is that?

subject ─► searching ─► measures ─► statistics ─► comparison ─► result (JSON)
                                                      ├─► gate        may it serve?
                                                      └─► terminal, report (HTML)
"""

from vecmigrate.evaluation.comparison import CompareRequest, compare
from vecmigrate.evaluation.gate import Check, GateResult, Outcome, judge_gate
from vecmigrate.evaluation.measures import Measure, parse_measure
from vecmigrate.evaluation.result import Comparison

__all__ = ["Check", "CompareRequest", "Comparison", "GateResult", "Measure", "Outcome", "compare", "judge_gate", "parse_measure"]
