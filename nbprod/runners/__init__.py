"""HOW an attempt executes: the papermill process, and what supervises it.

May import: notebook, core.
"""
