"""MAY IT PASS? Pure functions from evidence to verdict.

May import: core.
"""
