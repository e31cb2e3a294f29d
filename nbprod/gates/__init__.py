"""MAY IT PASS? Pure functions from evidence to Verdict.

May import: core.
"""
