"""Is the candidate better than the control, on the user's own queries, and how sure is that?

subject ─► searching ─► measures ─► statistics ─► comparison ─► result (JSON)
                                                      ├─► gate        may it serve?
                                                      └─► terminal, report (HTML)
"""
